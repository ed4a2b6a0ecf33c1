"""What a workflow asks of the one run that it started: its config, its state, its upgrades.

A run that cannot learn this must not begin: it would do what the deployed default says, which
is not what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from oedi_spark.contracts import RunOrigin
from oedi_spark.errors import ConfigError, DeploymentError
from oedi_spark.job_arguments import JobArguments

TAKEN: Mapping[str, str] = MappingProxyType(
    {"config": "--config", "state": "--state", "upgrades": "--upgrades"}
)
"""The keys that a run takes, and the argument that each takes the place of. All others describe
the deployment, or are somebody else's."""


def origin_of(run: Mapping[str, str]) -> RunOrigin:
    """Who started the run, by what Glue passed to it; see `JobArguments.run`."""
    return RunOrigin(
        job_run_id=run.get("job_run_id"),
        workflow_name=run.get("workflow_name"),
        workflow_run_id=run.get("workflow_run_id"),
    )


def with_run_properties(parsed: JobArguments) -> JobArguments:
    """The arguments, with what the workflow's run says in place of the job's own.

    Outside a workflow nothing is asked of anybody. A key that is not there, or is empty, replaces
    nothing. What the values mean is judged where the same values from a command line are.

    Raises:
        ConfigError: The properties cannot be read, or half of what names the run is missing.
    """
    origin = origin_of(parsed.run)
    name, run_id = origin.workflow_name, origin.workflow_run_id
    if parsed.wants_help or (name is None and run_id is None):
        return parsed
    if not (name and run_id):
        lacking = "--WORKFLOW_RUN_ID" if name else "--WORKFLOW_NAME"
        fault = f"{lacking} is missing beside its other half; pass both, as Glue does, or neither"
        raise ConfigError("the job's arguments", [fault])
    properties = _read(name, run_id)
    asked = {
        argument: value
        for key, argument in TAKEN.items()
        if (value := str(properties.get(key, "")).strip())
    }
    return replace(parsed, ours={**parsed.ours, **asked})


def _read(name: str, run_id: str) -> Mapping[str, str]:
    from oedi_spark.deployment.client import (  # noqa: PLC0415 - a run elsewhere needs no boto3
        explained,
        one_line,
        open_client,
    )

    what = f"the properties of run {one_line(run_id)} of workflow {one_line(name)}"
    try:
        glue = open_client("glue", region=None)
        try:
            with explained("glue", "they cannot be read"):
                answer = glue.get_workflow_run_properties(Name=name, RunId=run_id)
        finally:
            glue.close()
    except DeploymentError as error:
        told = f"{error} The run has not begun; start the workflow again"
        raise ConfigError(what, [told]) from error
    properties: Mapping[str, str] = answer.get("RunProperties") or {}
    return properties

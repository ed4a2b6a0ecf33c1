"""What a job was started with, by a shell or by AWS Glue, which adds arguments of its own.

Glue hands a script everything that was set on the job and on the run, as `--name value`, beside
what names the run (`--JOB_NAME`, `--JOB_RUN_ID`). Ours are taken, Glue's are passed over, and
what neither knows is refused by its name: a misspelt `--state` must not run every state.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from oedi_spark.errors import ConfigError
from oedi_spark.escaping import in_ascii

OURS: Mapping[str, str] = MappingProxyType(
    {
        "--config": "--config",
        "--state": "--state",
        "--upgrades": "--upgrades",
        "--output-dir": "--output-dir",
        "--output_dir": "--output-dir",
        "--force": "--force",
        "--retry-failed": "--retry-failed",
        "--retry_failed": "--retry-failed",
    }
)
"""Our arguments, and how `oedi-spark run` spells them."""

SWITCHES = frozenset({"--force", "--retry-failed"})
"""Those that are on or off. Here they have a value, for Glue passes none without: true or false."""

RUN_PROPERTIES: Mapping[str, str] = MappingProxyType(
    {
        "--JOB_NAME": "job_name",
        "--JOB_ID": "job_id",
        "--JOB_RUN_ID": "job_run_id",
        "--WORKFLOW_NAME": "workflow_name",
        "--WORKFLOW_RUN_ID": "workflow_run_id",
    }
)
"""What Glue says of the run itself; kept, and logged."""

GLUE_OWN = frozenset(
    [
        "--TempDir",
        "--additional-python-modules",
        "--auto-scale-within-microbatch",
        "--class",
        "--conf",
        "--continuation-option",
        "--continuous-log-conversionPattern",
        "--continuous-log-logGroup",
        "--continuous-log-logStreamPrefix",
        "--custom-logGroup-prefix",
        "--custom-logStream-prefix",
        "--customer-driver-env-vars",
        "--customer-executor-env-vars",
        "--datalake-formats",
        "--disable-proxy-v2",
        "--encryption-type",
        "--executor-cores",
        "--extra-files",
        "--extra-jars",
        "--extra-py-files",
        "--job-bookmark-from",
        "--job-bookmark-option",
        "--job-bookmark-to",
        "--job-language",
        "--python-modules-installer-option",
        "--python-virtual-env",
        "--redshift-temp-dir",
        "--RedshiftTempDir",
        "--SECURITY_CONFIGURATION",
        "--scriptLocation",
        "--spark-event-logs-path",
        "--use-postgres-driver",
        "--user-jars-first",
        "--write-shuffle-files-to-s3",
        "--write-shuffle-spills-to-s3",
    ]
)
"""Arguments that Glue documents or adds for itself. They mean nothing to this job."""

_GLUE_SWITCHES = "--enable-"
"""Glue's switches all begin so (`--enable-metrics`, …), and new ones appear with each version."""

_PIP_OPTIONS = "--python-modules-installer-option"
"""Its value is an option itself (`--no-index`)."""


@dataclass(frozen=True)
class JobArguments:
    """The arguments of one run, sorted by whose they are."""

    ours: Mapping[str, str]
    """`--config`, and the overrides that were given a value."""
    run: Mapping[str, str] = field(default_factory=dict)
    """`job_name`, `job_run_id`, `workflow_run_id`, …; empty outside Glue."""
    wants_help: bool = False

    def as_command(self) -> tuple[str, ...]:
        """The same as arguments of `oedi-spark run`."""
        if self.wants_help:
            return ("--help",)
        return tuple(
            name if name in SWITCHES else f"{name}={value}"
            for name, value in self.ours.items()
            if name not in SWITCHES or value == "true"
        )


def parse_job_arguments(arguments: Sequence[str]) -> JobArguments:
    """Sort what a shell or Glue passed to the script; its own name is not among them.

    An override without a value replaces nothing: Terraform has no other way to leave one out.

    Raises:
        ConfigError: With every fault: an argument nobody knows, one of ours twice, a value
            without a name.
    """
    ours: dict[str, str] = {}
    run: dict[str, str] = {}
    faults: list[str] = []
    if "--help" in arguments:
        return JobArguments({}, wants_help=True)
    for name, value in _pair(arguments):
        if name in OURS:
            if OURS[name] in ours:
                faults.append(f"{name} is given twice; keep one")
            ours[OURS[name]] = value
            if OURS[name] in SWITCHES and value not in ("true", "false"):
                faults.append(f"{name} is on or off; write {name} true, or {name} false")
        elif name in RUN_PROPERTIES:
            run[RUN_PROPERTIES[name]] = value
        elif name not in GLUE_OWN and not name.startswith(_GLUE_SWITCHES):
            faults.append(_explain(name))
    if faults:
        raise ConfigError("the job's arguments", tuple(dict.fromkeys(faults)))
    return JobArguments({name: value for name, value in ours.items() if value}, run)


def _pair(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each name with its value, which may follow it, be joined by `=`, or be left out."""
    waiting = list(reversed(arguments))
    while waiting:
        name = waiting.pop()
        if name.startswith("--") and "=" in name:
            name, _, value = name.partition("=")
        elif name.startswith("--") and waiting and _is_value(name, waiting[-1]):
            value = waiting.pop()
        else:
            value = ""
        yield name, value.strip()


def _is_value(name: str, text: str) -> bool:
    return name == _PIP_OPTIONS or not text.startswith("--")


def _explain(name: str) -> str:
    shown = in_ascii(name)[:60]
    if not name.startswith("--"):
        return f"{shown} belongs to no argument; write --name value"
    near = difflib.get_close_matches(name, OURS, n=1)
    return f"{shown} is not known" + (f"; did you mean {near[0]}?" if near else "")

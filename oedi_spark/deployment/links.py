"""Where the AWS console shows a run, by region; three partitions of AWS have hosts of their own."""

from __future__ import annotations

from urllib.parse import quote

_HOSTS = (("us-gov-", "console.amazonaws-us-gov.com"), ("cn-", "console.amazonaws.cn"))


def console_host(region: str) -> str:
    """The console's host: of `aws`, `aws-us-gov` or `aws-cn`."""
    for beginning, host in _HOSTS:
        if region.startswith(beginning):
            return host
    return f"{region}.console.aws.amazon.com"


def workflow_run_link(region: str, workflow: str, run_id: str) -> str:
    """The run of a workflow, as a graph."""
    return (
        f"{_page(region, 'glue')}#/v2/etl-configuration/workflows/run/{_part(workflow)}"
        f"?runId={_part(run_id)}"
    )


def job_link(region: str, job: str) -> str:
    """A job, with all its runs."""
    return f"{_page(region, 'gluestudio')}#/editor/job/{_part(job)}/runs"


def job_run_link(region: str, job: str, job_run_id: str) -> str:
    """A run of a job: its arguments, its metrics, its Spark UI."""
    return f"{_page(region, 'gluestudio')}#/job/{_part(job)}/run/{_part(job_run_id)}"


def logs_link(region: str, log_group_prefix: str, job_run_id: str | None) -> str:
    """Where a job logs. Since Glue 5 all that it says is in the group `error`.

    Args:
        region: Of the deployment.
        log_group_prefix: The job's `--custom-logGroup-prefix`, the part before `/error`.
        job_run_id: Shows the streams of this run alone, once it is known.
    """
    group = f"{log_group_prefix.rstrip('/')}/error"
    page = f"{_page(region, 'cloudwatch')}#logsV2:log-groups/log-group/{_dollar(group)}"
    return f"{page}$3FlogStreamNameFilter$3D{_dollar(job_run_id)}" if job_run_id else page


def workgroup_link(region: str, workgroup: str) -> str:
    """A workgroup of Athena."""
    return f"{_page(region, 'athena')}#/workgroups/details/{_part(workgroup)}"


def query_link(region: str, query_execution_id: str) -> str:
    """One query that was run: its text, its rows, what it scanned."""
    return f"{_page(region, 'athena')}#/query-editor/history/{_part(query_execution_id)}"


def _page(region: str, service: str) -> str:
    return f"https://{console_host(region)}/{service}/home?region={region}"


def _part(text: str) -> str:
    return quote(text, safe="")


def _dollar(text: str) -> str:
    """CloudWatch's way to write what stands behind the `#`: escaped twice, `$` for `%`."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")

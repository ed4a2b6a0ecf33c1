"""The pages of the console, whose host depends on the partition that a region lies in."""

from __future__ import annotations

import pytest

from oedi_spark.deployment import links


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-west-2", "us-west-2.console.aws.amazon.com"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
        ("cn-north-1", "console.amazonaws.cn"),
    ],
)
def test_a_workflow_run_is_on_the_host_of_its_partition(region: str, host: str) -> None:
    assert links.workflow_run_link(region, "oedi-dev", "wr_1") == (
        f"https://{host}/glue/home?region={region}"
        "#/v2/etl-configuration/workflows/run/oedi-dev?runId=wr_1"
    )


def test_the_logs_of_a_run_are_in_the_group_that_the_job_names() -> None:
    assert links.logs_link("us-west-2", "/oedi-dev/jobs", "jr_1") == (
        "https://us-west-2.console.aws.amazon.com/cloudwatch/home?region=us-west-2"
        "#logsV2:log-groups/log-group/$252Foedi-dev$252Fjobs$252Ferror"
        "$3FlogStreamNameFilter$3Djr_1"
    )


def test_a_name_from_outside_stays_within_its_part_of_the_link() -> None:
    assert links.job_run_link("us-west-2", "a/b?c", "jr#1").endswith("#/job/a%2Fb%3Fc/run/jr%231")

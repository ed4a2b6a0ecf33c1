"""What is said of a fault of AWS: enough to act on, and nothing that the request held."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from oedi_spark.errors import PublishError
from oedi_spark.lake.catalog import CatalogLocation, open_catalog, open_table
from oedi_spark.lake.faults import is_refusal, is_storage_fault, say_fault
from oedi_spark.lake.schemas import hourly_definition


def _refused(code: str, status: int) -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": "x-amz-security-token:PLANTED"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "UpdateTable")


def test_of_a_refused_request_only_code_and_status_are_said() -> None:
    error = _refused("InvalidSignatureException", 403)

    assert say_fault(error) == "ClientError: InvalidSignatureException (HTTP 403)"
    assert say_fault(_refused("PLANTED\nx: y", 400)) == "ClientError: no plain code (HTTP 400)"
    assert say_fault(ValueError("as it is")) == "ValueError: as it is"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_refused("AccessDeniedException", 400), True),
        (_refused("ExpiredTokenException", 403), True),
        (_refused("InternalServiceException", 500), False),
        (_refused("RequestTimeout", 408), False),
        (ReadTimeoutError(endpoint_url="x"), False),
        (ConnectionError("504"), False),
    ],
)
def test_a_refusal_is_an_answer_that_did_nothing(error: Exception, expected: bool) -> None:
    assert is_refusal(error) is expected
    assert is_storage_fault(error)


def test_what_the_program_did_wrong_is_no_fault_of_storage() -> None:
    assert not is_storage_fault(KeyError("x"))


def test_open_table_refuses_a_table_of_another_output_dir(place: CatalogLocation) -> None:
    catalog = open_catalog(place)
    open_table(catalog, place, hourly_definition([]))
    moved = CatalogLocation(
        place.kind, place.name, place.database, f"{place.warehouse_uri}-moved", place.uri
    )

    with pytest.raises(PublishError) as caught:
        open_table(catalog, moved, hourly_definition([]))

    assert f"it lies at {place.table_uri('hourly')}" in str(caught.value)
    assert moved.table_uri("hourly") in str(caught.value)

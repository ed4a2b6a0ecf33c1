"""The client of Glue: bounded, and with a commit that is asked for once.

A commit whose answer was lost must not be sent again: Glue would refuse the second for a version
that the first has made old, and whoever takes that for a lost race deletes the manifests of the
commit that Glue has taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from pyiceberg.exceptions import CommitFailedException

from oedi_spark.lake.s3_access import S3Access

_NOT_TAKEN = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException"})
"""Glue was too busy to look at the request, so that it may be made again."""


def glue_client(access: S3Access, endpoint_url: str | None, catalog_id: str | None) -> Any:  # noqa: ANN401 - boto3 clients have no type
    """A boto3 client as PyIceberg's GlueCatalog takes it.

    Args:
        access: Of S3; its region, time limits and attempts are Glue's too.
        endpoint_url: Another server than AWS.
        catalog_id: The account that owns the catalog; None for that of the credentials.
    """
    session = boto3.session.Session()

    def build(attempts: int) -> Any:  # noqa: ANN401 - boto3 clients have no type
        config = Config(
            connect_timeout=access.connect_timeout_s,
            read_timeout=access.request_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )
        client = session.client(
            "glue", endpoint_url=endpoint_url, region_name=access.region, config=config
        )
        if catalog_id is not None:

            def name_catalog(params: dict[str, object], **_: object) -> None:
                params.setdefault("CatalogId", catalog_id)

            client.meta.events.register("provide-client-params.glue", name_catalog)
        return client

    client = build(access.max_attempts)
    client.update_table = _telling_busy(build(1).update_table)
    return client


def _telling_busy(update: Callable[..., Any]) -> Callable[..., Any]:
    """An update that says of a Glue that is too busy what it is: a commit that did not happen."""

    def ask(**wanted: object) -> Any:  # noqa: ANN401 - boto3 has no types
        try:
            return update(**wanted)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in _NOT_TAKEN:
                raise CommitFailedException(f"Glue is busy ({code})") from error
            raise

    return ask

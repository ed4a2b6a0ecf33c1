"""Where a run's config says that its tables and copies go."""

from __future__ import annotations

from oedi_spark.config import RunConfig
from oedi_spark.lake.catalog import CatalogLocation
from oedi_spark.lake.files import S3Access


def output_uri(config: RunConfig) -> str:
    """`output_dir` as a URI, without a trailing slash."""
    return _as_uri(config, config.output_root)


def _as_uri(config: RunConfig, folder: str) -> str:
    return f"file://{folder}" if config.output_is_local else folder


def output_access(config: RunConfig) -> S3Access:
    """How the config says S3 is reached for output."""
    catalog = config.catalog
    return S3Access(
        endpoint_url=catalog.s3_endpoint_url,
        region=catalog.region,
        path_style=catalog.s3_path_style,
        sse=None if catalog.sse == "none" else catalog.sse,
        kms_key_id=catalog.kms_key_id,
    )


def catalog_location(config: RunConfig) -> CatalogLocation:
    """Where the config says the tables are."""
    root = config.output_root
    uri = config.catalog.uri
    if config.catalog.type == "sql" and uri is None:
        uri = f"sqlite:///{root}/catalog.db"
    return CatalogLocation(
        kind=config.catalog.type,
        name=config.catalog.name,
        database=config.catalog.database,
        warehouse_uri=_as_uri(config, config.warehouse_root),
        uri=uri,
        access=output_access(config),
        glue_endpoint_url=config.catalog.endpoint_url,
        catalog_id=config.catalog.catalog_id,
    )

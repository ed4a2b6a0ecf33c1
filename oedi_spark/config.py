"""One run, described: frozen models, and `load_config`, which reads them from YAML.

Nothing has a fallback: an unknown key is refused, and every fault is told at once with its
path. What the sections hold is `oedi_spark.config_sections`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from oedi_spark.config_json import describe_fault, read_document
from oedi_spark.config_sections import (
    PUBLIC_BUCKET,
    CatalogConfig,
    JobConfig,
    KeyPath,
    MaintenanceConfig,
    Section,
    Settings,
    SourceConfig,
    require_output,
    require_path,
    require_source,
    without_bucket,
)
from oedi_spark.errors import ConfigError

__all__ = [
    "PUBLIC_BUCKET",
    "CatalogConfig",
    "JobConfig",
    "MaintenanceConfig",
    "RunConfig",
    "Settings",
    "SourceConfig",
    "load_config",
    "load_config_with_notes",
]


class RunConfig(Section):
    """One run. Relative local folders are relative to the working directory."""

    src_bucket: Annotated[str, AfterValidator(require_source)]
    """A bucket name, or a local folder: that has a `/` in it or starts with a dot."""
    base_partition: str = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
    """The folder above the years; empty when they lie at the root."""
    data_partition_in_release: KeyPath = "timeseries_individual_buildings/by_state"
    output_dir: Annotated[str, AfterValidator(require_output)]
    """A local folder, or `s3://bucket/prefix`."""
    job_specific: tuple[JobConfig, ...]
    source: SourceConfig = Field(default_factory=SourceConfig, validate_default=True)
    catalog: CatalogConfig = Field(default_factory=CatalogConfig, validate_default=True)
    settings: Settings = Field(default_factory=Settings)
    maintenance: MaintenanceConfig = Field(default_factory=MaintenanceConfig)

    @property
    def src_is_local(self) -> bool:
        """Whether the source is a local folder."""
        return "/" in self.src_bucket or self.src_bucket.startswith(".")

    @property
    def src_root(self) -> str:
        """The absolute local folder, or the name of the bucket."""
        return str(Path(self.src_bucket).absolute()) if self.src_is_local else self.src_bucket

    @property
    def output_is_local(self) -> bool:
        """Whether the tables are written to a local folder."""
        return not self.output_dir.startswith("s3://")

    @property
    def output_root(self) -> str:
        """The absolute local folder, or `s3://bucket/prefix`."""
        return str(Path(self.output_dir).absolute()) if self.output_is_local else self.output_dir

    @property
    def warehouse_root(self) -> str:
        """The folder of the databases, spelt as `output_root` is."""
        folder = self.catalog.warehouse_dir
        if folder is None:
            return f"{self.output_root}/warehouse"
        return str(Path(folder).absolute()) if self.output_is_local else folder

    @field_validator("base_partition")
    @classmethod
    def _strip_base(cls, value: str, info: ValidationInfo) -> str:
        base = without_bucket(value, info.data.get("src_bucket"))
        return require_path(base) if base else base

    @field_validator("job_specific")
    @classmethod
    def _strip_jobs(
        cls, jobs: tuple[JobConfig, ...], info: ValidationInfo
    ) -> tuple[JobConfig, ...]:
        if not jobs:
            raise ValueError("names no release; write at least one")
        if len({job.folder for job in jobs}) != len({job.folder.release for job in jobs}):
            raise ValueError("two releases would have one name in the tables; run one at a time")
        bucket = info.data.get("src_bucket")
        return tuple(
            job.model_copy(update={"metadata_root_dir": without_bucket(root, bucket)})
            if (root := job.metadata_root_dir)
            else job
            for job in jobs
        )

    @field_validator("source", mode="before")
    @classmethod
    def _settle_anonymous(cls, value: object, info: ValidationInfo) -> object:
        given = value.model_dump(exclude_unset=True) if isinstance(value, SourceConfig) else value
        if not isinstance(given, Mapping):
            return value
        is_public = info.data.get("src_bucket") == PUBLIC_BUCKET
        return {"anonymous": is_public} | dict(given)

    @field_validator("catalog")
    @classmethod
    def _fit_output(cls, catalog: CatalogConfig, info: ValidationInfo) -> CatalogConfig:
        if "output_dir" not in info.data:
            return catalog
        is_on_s3 = info.data["output_dir"].startswith("s3://")
        if catalog.type != "sql" and not is_on_s3:
            way_out = "write s3://bucket/prefix there, or use type sql"
            raise ValueError(f"type {catalog.type} needs an output_dir on S3; {way_out}")
        if catalog.type == "sql" and is_on_s3 and catalog.uri is None:
            way_out = "use type glue, or set uri to sqlite:///folder/file.db"
            raise ValueError(f"type sql keeps a SQLite file, which cannot lie on S3; {way_out}")
        if catalog.s3_keys and not is_on_s3:
            listed = ", ".join(catalog.s3_keys)
            raise ValueError(f"{listed}: of an output_dir on S3 alone; remove, or write s3://…")
        if catalog.warehouse_dir is not None:
            _require_apart(catalog.warehouse_dir, info.data["output_dir"])
        return catalog

    @field_validator("maintenance")
    @classmethod
    def _fit_files(cls, maintenance: MaintenanceConfig, info: ValidationInfo) -> MaintenanceConfig:
        small, settings = maintenance.small_file_bytes, info.data.get("settings")
        is_set = "small_file_bytes" in maintenance.model_fields_set
        if is_set and isinstance(settings, Settings) and 2 * small > settings.target_file_bytes:
            way_out = f"at most half of settings.target_file_bytes ({settings.target_file_bytes})"
            raise ValueError(f"small_file_bytes {small} is too large; write {way_out}")
        return maintenance


def _require_apart(warehouse: str, output: str) -> None:
    """Refuse a folder of tables that a crawler of the landed copies, or an expiry, would reach."""
    if warehouse.startswith("s3://") != output.startswith("s3://"):
        raise ValueError(f"warehouse_dir {warehouse} and output_dir {output} are not of one kind")
    is_remote = output.startswith("s3://")
    tables, copies = (
        f"{each if is_remote else Path(each).absolute()}/" for each in (warehouse, output)
    )
    if copies.startswith(tables):
        raise ValueError(f"output_dir lies in warehouse_dir {warehouse}; keep them apart")
    if tables.startswith((f"{copies}metadata/", f"{copies}summaries/")):
        raise ValueError(f"warehouse_dir {warehouse} lies among the landed copies; keep them apart")


def load_config(path: str | Path, overrides: Mapping[str, object] | None = None) -> RunConfig:
    """Read and prove the config of one run. See `load_config_with_notes`."""
    return load_config_with_notes(path, overrides)[0]


def load_config_with_notes(
    path: str | Path, overrides: Mapping[str, object] | None = None
) -> tuple[RunConfig, tuple[str, ...]]:
    """Read and prove the config of one run, and tell what in it has no effect.

    A `.json` file, and any document with an `etl_config`, is read as the previous system's.

    Args:
        path: The YAML file or the old `config.json`, here or on S3 (`s3://bucket/key`).
        overrides: `src_bucket` and `output_dir`, which replace the file's, and `state` and
            `upgrades`, which replace those of every job. A value of None replaces nothing.

    Returns:
        The run, and a note for each key that was ignored or converted.

    Raises:
        ConfigError: With every fault; also when the file is missing or cannot be parsed.
    """
    document, notes, faults = read_document(path)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        config = RunConfig.model_validate(_override(document, given))
    except ValidationError as error:
        faults += [_describe(one, given) for one in error.errors(include_url=False)]
    if faults:
        raise ConfigError(str(path), tuple(dict.fromkeys(faults)))
    return config, tuple(notes)


def _override(document: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    for_jobs = {key: given[key] for key in given if key in ("state", "upgrades")}
    merged = {**document, **{key: given[key] for key in given if key not in for_jobs}}
    jobs = document.get("job_specific")
    if isinstance(jobs, list):
        merged["job_specific"] = [
            {**job, **for_jobs} if isinstance(job, Mapping) else job for job in jobs
        ]
    return merged


def _describe(error: ErrorDetails, given: Mapping[str, object]) -> str:
    loc = error["loc"]
    sections: dict[int | str, type[Section]] = {"job_specific": JobConfig, "source": SourceConfig}
    sections |= {"catalog": CatalogConfig, "settings": Settings, "maintenance": MaintenanceConfig}
    section = sections.get(loc[0], RunConfig) if len(loc) > 1 else RunConfig
    if loc[-1] in given and (len(loc) == 1 or loc[0] == "job_specific"):
        error = {**error, "loc": (f"{loc[-1]} override",)}
    known = [field.alias or name for name, field in section.model_fields.items()]
    return describe_fault(error, known)

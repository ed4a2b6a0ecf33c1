"""One run, described: frozen models, and `load_config`, which reads them from YAML.

Nothing has a fallback: an unknown key is refused, and every fault is told at once with its
path. Each value that becomes part of a path is proved to be a plain name here, so that no
later stage has to ask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from oedi_spark.config_json import (
    ALL,
    IGNORED_SETTINGS,
    describe_fault,
    format_upgrades,
    parse_states,
    parse_upgrades,
    quote,
    read_document,
    split_list,
)
from oedi_spark.errors import ConfigError
from oedi_spark.source.layout import SAFE_SEGMENT, ReleaseFolder, is_safe_path

PUBLIC_BUCKET = "oedi-data-lake"
_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LOCAL_SEGMENT = re.compile(r"(?!\.\.$)[\w.=@+,-](?:[\w.=@+, -]{0,118}[\w.=@+,-])?")
_URL = re.compile(r"https?://(?:[\w.-]+|\[[\da-fA-F:]+\])(?::\d{1,5})?(?:/[\w./-]*)?", re.ASCII)
_COUNTY = re.compile(r"G[0-9]{7}")
_METADATA_VERSION = re.compile(r"([123])(?:\.0)?")


def _require_path(value: str) -> str:
    path = value.removesuffix("/")
    if not is_safe_path(path):
        way_out = "write folder names of A-Z a-z 0-9 . _ = - joined by /, no leading / and no .."
        raise ValueError(f"{quote(value)} is no safe path; {way_out}")
    return path


def _require_release_name(value: str) -> str:
    if not is_safe_path(value) or value.count("/") > 1:
        way_out = "write its folder, such as resstock_dataset_2024.1/resstock_tmy3"
        raise ValueError(f"{quote(value)} is no release; {way_out}")
    return value


def _require_file_name(value: str) -> str:
    if not SAFE_SEGMENT.fullmatch(value):
        way_out = "put the folder into settings.log_dir"
        raise ValueError(f"{quote(value)} is no plain file name; {way_out}")
    return value


def _require_local_folder(value: str) -> str:
    """Accept a folder name of any alphabet, but nothing that a shell or a URL would read."""
    path = value.removeprefix("file://") if value.startswith("file:///") else value
    path = path.removesuffix("/")
    segments = path.removeprefix("/").split("/")
    if not all(_LOCAL_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(
            f"{quote(value)} is no safe folder; write a path without .., quotes, "
            "line breaks and signs such as : ~ % * (an absolute one reaches every folder)"
        )
    return path


def _require_bucket(value: str, written: str) -> str:
    if not _BUCKET.fullmatch(value):
        way_out = "write its name or s3://name, without a prefix, or ./folder for a local folder"
        raise ValueError(f"{quote(written)} is no bucket; {way_out}")
    return value


def _require_source(value: str) -> str:
    if value.startswith("s3://"):
        return _require_bucket(value.removeprefix("s3://").removesuffix("/"), value)
    if "/" not in value and not value.startswith("."):
        return _require_bucket(value, value)
    folder = _require_local_folder(value)
    return folder if "/" in folder or folder.startswith(".") else f"./{folder}"


def _require_output(value: str) -> str:
    if not value.startswith("s3://"):
        return _require_local_folder(value)
    bucket, _, prefix = value.removeprefix("s3://").removesuffix("/").partition("/")
    _require_bucket(bucket, value)
    return f"s3://{bucket}/{_require_path(prefix)}" if prefix else f"s3://{bucket}"


def _require_url(value: str) -> str:
    if "@" in value:
        raise ValueError("must not hold a user or a password; leave them to the environment")
    if not _URL.fullmatch(value):
        raise ValueError(f"{quote(value)} is no URL; write http://host:port or https://host")
    return value.removesuffix("/")


def _refuse_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{quote(value)} is no number; write digits")
    return value


def _without_bucket(path: str, bucket: str | None) -> str:
    """Strip a leading bucket, which users of the old system wrote before the key."""
    for name in (bucket, PUBLIC_BUCKET):
        if name and path.startswith(f"{name}/"):
            return path.removeprefix(f"{name}/")
    return path


_KeyPath = Annotated[str, AfterValidator(_require_path)]
_LocalFolder = Annotated[str, AfterValidator(_require_local_folder)]
_Url = Annotated[str, AfterValidator(_require_url)]
_Int = Annotated[int, BeforeValidator(_refuse_boolean)]
_Float = Annotated[float, BeforeValidator(_refuse_boolean), Field(allow_inf_nan=False)]
_Seconds = Annotated[_Float, Field(gt=0, le=3600)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobConfig(_Section):
    """What to read of one release."""

    release_year: Annotated[str, Field(pattern=r"^[0-9]{4}$", coerce_numbers_to_str=True)]
    release_name: Annotated[str, AfterValidator(_require_release_name)]
    states: Annotated[tuple[str, ...] | None, BeforeValidator(parse_states), Field(alias="state")]
    """`state` in YAML. None: every state."""
    upgrades: Annotated[tuple[int, ...] | None, BeforeValidator(parse_upgrades)]
    """None: every upgrade."""
    metadata_root_dir: _KeyPath | None = None
    """As configured, without a leading bucket: below the release, or below the bucket."""
    relative_metadata_prefix_type: int | None = None
    """The metadata version, 1 to 3."""
    counties: tuple[str, ...] = ()
    """`("*",)`: every county that exists."""

    @property
    def folder(self) -> ReleaseFolder:
        """The release, as its folder names it."""
        return ReleaseFolder(year=self.release_year, name=self.release_name)

    @field_validator("relative_metadata_prefix_type", mode="before")
    @classmethod
    def _read_version(cls, value: object) -> object:
        match = _METADATA_VERSION.fullmatch(str(value))
        if value is not None and not match:
            raise ValueError(f'{quote(value)} is no metadata version; write "1", "2" or "3"')
        return int(match[1]) if match else None

    @field_validator("counties", mode="before")
    @classmethod
    def _read_counties(cls, value: object, info: ValidationInfo) -> tuple[str, ...]:
        if not value and isinstance(value, list | tuple | None):
            return ()
        counties = split_list(value, "county")
        bad = [one for one in counties if not _COUNTY.fullmatch(one)]
        if bad and counties != [ALL]:
            raise ValueError(f'{quote(bad)} is no county; write G0800590, or "{ALL}" alone')
        if (version := info.data.get("relative_metadata_prefix_type")) in (1, 3):
            why = f"version {version} has one file for each state and none for a county"
            raise ValueError(f"{why}: remove counties or use 2; got {quote(counties)}")
        return tuple(dict.fromkeys(counties))

    @field_serializer("states")
    def _print_states(self, states: tuple[str, ...] | None) -> list[str] | str:
        return ALL if states is None else list(states)

    @field_serializer("upgrades")
    def _print_upgrades(self, upgrades: tuple[int, ...] | None) -> str:
        return format_upgrades(upgrades)


class SourceConfig(_Section):
    """How `src_bucket` is reached. Credentials never stand in a config."""

    anonymous: StrictBool = False
    """Send unsigned requests. When it is left out: true for the public bucket alone."""
    endpoint_url: _Url | None = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = "us-west-2"
    path_style: StrictBool = False
    connect_timeout_s: _Seconds = 10.0
    read_timeout_s: _Seconds = 60.0
    max_attempts: Annotated[_Int, Field(ge=1, le=20)] = 5


class CatalogConfig(_Section):
    """Where the tables are registered; their files lie in `output_dir`."""

    type: Literal["sql", "glue", "rest"] = "sql"
    """`sql` is a SQLite file, in `output_dir` unless `uri` names another."""
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")] = "oedi"
    database: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")] = "oedi"
    uri: Annotated[str | None, Field(validate_default=True)] = None

    @field_validator("uri")
    @classmethod
    def _fit_type(cls, uri: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("type")
        if uri is None and kind == "rest":
            raise ValueError("is required by type rest; write https://host")
        if uri is None or kind is None:
            return uri
        if kind != "sql":
            return _require_url(uri)
        if not uri.startswith("sqlite:///"):
            raise ValueError("type sql needs sqlite:///folder/file.db; use type rest for a server")
        return "sqlite:///" + _require_local_folder(uri.removeprefix("sqlite:///"))


class Settings(_Section):
    """How a run behaves. The keys of `IGNORED_SETTINGS` are accepted and have no effect."""

    log_dir: _LocalFolder = "logs"
    log_filename: Annotated[str, AfterValidator(_require_file_name)] = "etl.log"
    logging_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    listing_page_size: Annotated[_Int, Field(ge=1, le=1000)] = 1000
    listing_workers: Annotated[_Int, Field(ge=1, le=64)] = 8
    max_failed_fraction: Annotated[_Float, Field(ge=0, le=1)] = 0.01
    """A partition is held back when more than this share of its files fails."""
    strict_columns: StrictBool = False
    """A column that no rule knows is an error, not a note."""
    target_file_bytes: Annotated[_Int, Field(ge=1024 * 1024)] = 128 * 1024 * 1024
    row_group_buildings: Annotated[_Int, Field(ge=1, le=1000)] = 12
    read_ahead_files: Annotated[_Int, Field(ge=1, le=64)] = 4
    engine: Literal["arrow"] = "arrow"

    @model_validator(mode="before")
    @classmethod
    def _drop_ignored(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if key not in IGNORED_SETTINGS}

    @field_validator("logging_level", mode="before")
    @classmethod
    def _raise_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


class RunConfig(_Section):
    """One run. Relative local folders are relative to the working directory."""

    src_bucket: Annotated[str, AfterValidator(_require_source)]
    """A bucket name, or a local folder: that has a `/` in it or starts with a dot."""
    base_partition: str = "nrel-pds-building-stock/end-use-load-profiles-for-us-building-stock"
    """The folder above the years; empty when they lie at the root."""
    data_partition_in_release: _KeyPath = "timeseries_individual_buildings/by_state"
    output_dir: Annotated[str, AfterValidator(_require_output)]
    """A local folder, or `s3://bucket/prefix`."""
    job_specific: tuple[JobConfig, ...]
    source: SourceConfig = Field(default_factory=SourceConfig, validate_default=True)
    catalog: CatalogConfig = Field(default_factory=CatalogConfig, validate_default=True)
    settings: Settings = Field(default_factory=Settings)

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

    @field_validator("base_partition")
    @classmethod
    def _strip_base(cls, value: str, info: ValidationInfo) -> str:
        base = _without_bucket(value, info.data.get("src_bucket"))
        return _require_path(base) if base else base

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
            job.model_copy(update={"metadata_root_dir": _without_bucket(root, bucket)})
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
        return catalog


def load_config(path: str | Path, overrides: Mapping[str, object] | None = None) -> RunConfig:
    """Read and prove the config of one run. See `load_config_with_notes`."""
    return load_config_with_notes(path, overrides)[0]


def load_config_with_notes(
    path: str | Path, overrides: Mapping[str, object] | None = None
) -> tuple[RunConfig, tuple[str, ...]]:
    """Read and prove the config of one run, and tell what in it has no effect.

    A `.json` file, and any document with an `etl_config`, is read as the previous system's.

    Args:
        path: The YAML file, or the old `config.json`.
        overrides: `src_bucket` and `output_dir`, which replace the file's, and `state` and
            `upgrades`, which replace those of every job. A value of None replaces nothing.

    Returns:
        The run, and a note for each key that was ignored or converted.

    Raises:
        ConfigError: With every fault; also when the file is missing or cannot be parsed.
    """
    document, notes, faults = read_document(Path(path))
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
    sections: dict[int | str, type[_Section]] = {"job_specific": JobConfig, "source": SourceConfig}
    sections |= {"catalog": CatalogConfig, "settings": Settings}
    section = sections.get(loc[0], RunConfig) if len(loc) > 1 else RunConfig
    if loc[-1] in given and (len(loc) == 1 or loc[0] == "job_specific"):
        error = {**error, "loc": (f"{loc[-1]} override",)}
    known = [field.alias or name for name, field in section.model_fields.items()]
    return describe_fault(error, known)

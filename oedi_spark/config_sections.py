"""The sections of a config, and what a value must look like to be one: frozen models.

Each value that becomes part of a path is proved to be a plain name here, so that no later stage
has to ask. How the sections fit together is `oedi_spark.config`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from oedi_spark.config_json import (
    ALL,
    IGNORED_SETTINGS,
    format_upgrades,
    parse_states,
    parse_upgrades,
    quote,
    read_document,
    split_list,
)
from oedi_spark.errors import ConfigError
from oedi_spark.source.layout import SAFE_SEGMENT, ReleaseFolder, is_safe_path
from oedi_spark.transform.rules import RuleBook, build_rule_book

PUBLIC_BUCKET = "oedi-data-lake"
_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LOCAL_SEGMENT = re.compile(r"(?!\.\.$)[\w.=@+,-](?:[\w.=@+, -]{0,118}[\w.=@+,-])?")
_URL = re.compile(r"https?://(?:[\w.-]+|\[[\da-fA-F:]+\])(?::\d{1,5})?(?:/[\w./-]*)?", re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{12}")
_KMS_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/_-]{0,2047}")
_COUNTY = re.compile(r"G[0-9]{7}")
_METADATA_VERSION = re.compile(r"([123])(?:\.0)?")


def require_path(value: str) -> str:
    """A key or prefix that cannot leave its folder, without a trailing slash."""
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


def require_source(value: str) -> str:
    """A bucket, or a local folder, told apart as the config writes them."""
    if value.startswith("s3://"):
        return _require_bucket(value.removeprefix("s3://").removesuffix("/"), value)
    if "/" not in value and not value.startswith("."):
        return _require_bucket(value, value)
    folder = _require_local_folder(value)
    return folder if "/" in folder or folder.startswith(".") else f"./{folder}"


def require_output(value: str) -> str:
    """A local folder, or `s3://bucket/prefix` without a trailing slash."""
    if not value.startswith("s3://"):
        return _require_local_folder(value)
    bucket, _, prefix = value.removeprefix("s3://").removesuffix("/").partition("/")
    _require_bucket(bucket, value)
    return f"s3://{bucket}/{require_path(prefix)}" if prefix else f"s3://{bucket}"


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


def without_bucket(path: str, bucket: str | None) -> str:
    """Strip a leading bucket, which users of the old system wrote before the key."""
    for name in (bucket, PUBLIC_BUCKET):
        if name and path.startswith(f"{name}/"):
            return path.removeprefix(f"{name}/")
    return path


KeyPath = Annotated[str, AfterValidator(require_path)]
_LocalFolder = Annotated[str, AfterValidator(_require_local_folder)]
_Url = Annotated[str, AfterValidator(_require_url)]
_Int = Annotated[int, BeforeValidator(_refuse_boolean)]
_Float = Annotated[float, BeforeValidator(_refuse_boolean), Field(allow_inf_nan=False)]
_Region = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
_Seconds = Annotated[_Float, Field(gt=0, le=3600)]


class Section(BaseModel):
    """What every part of a config is: frozen, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobConfig(Section):
    """What to read of one release."""

    release_year: Annotated[str, Field(pattern=r"^[0-9]{4}$", coerce_numbers_to_str=True)]
    release_name: Annotated[str, AfterValidator(_require_release_name)]
    states: Annotated[tuple[str, ...] | None, BeforeValidator(parse_states), Field(alias="state")]
    """`state` in YAML. None: every state."""
    upgrades: Annotated[tuple[int, ...] | None, BeforeValidator(parse_upgrades)]
    """None: every upgrade."""
    metadata_root_dir: KeyPath | None = None
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


class SourceConfig(Section):
    """How `src_bucket` is reached. Credentials never stand in a config."""

    anonymous: StrictBool = False
    """Send unsigned requests. When it is left out: true for the public bucket alone."""
    endpoint_url: _Url | None = None
    region: _Region = "us-west-2"
    path_style: StrictBool = False
    requester_pays: StrictBool = False
    """Say with each request that the reader's account is charged; some buckets demand it."""
    connect_timeout_s: _Seconds = 10.0
    read_timeout_s: _Seconds = 60.0
    max_attempts: Annotated[_Int, Field(ge=1, le=20)] = 5

    @model_validator(mode="after")
    def _fit_payer(self) -> SourceConfig:
        if self.requester_pays and self.anonymous:
            raise ValueError("requester_pays needs signed requests; set anonymous to false")
        return self


class CatalogConfig(Section):
    """Where the tables are registered, and where their files lie."""

    type: Literal["sql", "glue", "rest"] = "sql"
    """`sql` is a SQLite file, in `output_dir` unless `uri` names another."""
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")] = "oedi"
    database: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")] = "oedi"
    uri: Annotated[str | None, Field(validate_default=True)] = None
    warehouse_dir: Annotated[str, AfterValidator(require_output)] | None = None
    """The folder of the databases. None: `warehouse` in `output_dir`."""
    region: _Region | None = None
    """Of Glue and of the buckets written to. None: as the environment says."""
    endpoint_url: _Url | None = None
    """Another server of Glue's requests."""
    catalog_id: Annotated[str | None, Field(coerce_numbers_to_str=True)] = None
    """The account whose Glue catalog it is. None: that of the credentials."""
    s3_endpoint_url: _Url | None = None
    s3_path_style: StrictBool = False
    sse: Literal["none", "AES256", "aws:kms"] = "none"
    """How S3 is asked to encrypt each file; `none` leaves it to the bucket."""
    kms_key_id: str | None = None

    @property
    def s3_keys(self) -> list[str]:
        """The keys that were set and mean something on S3 alone."""
        keys = ("s3_endpoint_url", "s3_path_style", "sse", "kms_key_id")
        return [key for key in keys if getattr(self, key) not in (None, False, "none")]

    @field_validator("endpoint_url", "catalog_id")
    @classmethod
    def _fit_glue(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("type", "glue") != "glue":
            raise ValueError("belongs to type glue; remove it, or use uri")
        if info.field_name == "catalog_id" and value and not _ACCOUNT.fullmatch(value):
            raise ValueError(f"{quote(value)} is no account; write its 12 digits, in quotes")
        return value

    @field_validator("kms_key_id")
    @classmethod
    def _fit_encryption(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is not None and info.data.get("sse", "aws:kms") != "aws:kms":
            raise ValueError("needs sse: aws:kms")
        if key is not None and not _KMS_KEY.fullmatch(key):
            raise ValueError(f"{quote(key)} is no key; write its id, alias/name or ARN")
        return key

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


def _read_quality_rules(value: object) -> object:
    """The rules that a run changes: a mapping, or the path or URI of a file that holds one."""
    if value is None:
        return None
    where = ""
    if isinstance(value, str):
        where = f"{quote(value)}: "
        try:
            document, _, faults = read_document(value)
        except ConfigError as error:
            raise ValueError(f"{where}{'; '.join(error.faults)}") from error
        if faults or set(document) != {"rules"}:
            told = faults or ["write one key, rules, and below it a key for each rule"]
            raise ValueError(where + "; ".join(told))
        value = document["rules"]
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}{quote(value)} is no mapping from rules to what they change")
    for name, given in value.items():
        if not isinstance(given, Mapping):
            raise ValueError(f"{where}{quote(name)}: write severity, threshold, or both below it")
    try:
        build_rule_book(value)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error
    return value


class Settings(Section):
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
    engine: Literal["arrow", "window"] = "arrow"
    """What rolls the series up: this package's own code, or Spark's window functions."""
    usd_per_core_hour: Annotated[_Float, Field(ge=0)] | None = None
    """The price that the ledger estimates a run's cost by. None: it estimates none."""
    quality_rules: Annotated[
        Mapping[str, Mapping[str, object]] | None, BeforeValidator(_read_quality_rules)
    ] = None
    """What differs from `transform/rules.py`; a file in its place is read. None: nothing."""

    quarantine: StrictBool = False
    """Copy rejected building files to `quarantine/` in `output_dir`, with the reason."""

    @property
    def rule_book(self) -> RuleBook:
        """The rules as this run takes them."""
        return build_rule_book(self.quality_rules or {})

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


class MaintenanceConfig(Section):
    """What `oedi-spark maintain` keeps, and which files it finds too small."""

    snapshot_retention_days: Annotated[_Float, Field(ge=0, le=3650)] = 5.0
    """A snapshot that is older goes, unless a branch or a tag names it."""
    snapshots_to_keep: Annotated[_Int, Field(ge=1, le=10_000)] = 3
    """So many of the newest stay, however old they are."""
    orphan_age_days: Annotated[_Float, Field(ge=1, le=3650)] = 3.0
    """A file that no snapshot names goes when it is older; longer than the longest run."""
    small_file_bytes: Annotated[_Int, Field(ge=1)] = 32 * 1024 * 1024
    """A file below this is small. At most half of `settings.target_file_bytes`."""
    compaction_min_files: Annotated[_Int, Field(ge=2, le=100_000)] = 5
    """A partition with so many small files is compacted."""

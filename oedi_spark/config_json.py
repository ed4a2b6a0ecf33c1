"""How a config is written: strict YAML, short lists, and the previous system's `config.json`.

Here text becomes a mapping with our keys, and a config becomes text again. What the values
mean, and which are allowed, is `oedi_spark.config`.

The old file is JSON with comments and trailing commas. Its `etl_config` says what to read,
its `deploymentConfig` how the stack was deployed, which Terraform says now. A key that has
no meaning any more is dropped with a note; one that nobody knows is passed on, so that
`oedi_spark.config` refuses it.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import json5
import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from oedi_spark.config_remote import is_remote, read_remote_config
from oedi_spark.errors import ConfigError

if TYPE_CHECKING:
    from oedi_spark.config import RunConfig

ALL = "*"
"""How a config says “every state”, “every upgrade” or “every county”."""

IGNORED_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "idle_timeout_in_minutes": "no worker waits idle any more",
        "max_listing_queue_size": "the listing is held whole, there is no queue",
        "glue_job_timeout": "Terraform sets the timeout of the Glue job",
    }
)
"""Settings of the old system that are accepted and do nothing, and why."""

_IGNORED_TOP_LEVEL: Mapping[str, str] = MappingProxyType(
    {
        "monorepoRoot": "this repository has one root",
        "deploymentConfig": "Terraform describes the deployment",
    }
)

_STATE = re.compile(r"[A-Z]{2}")
_UPGRADES = re.compile(r"(0|[1-9][0-9]{0,3})(?:-(0|[1-9][0-9]{0,3}))?")


def read_document(path: str | Path) -> tuple[Mapping[str, object], list[str], list[str]]:
    """Read a config, a file or `s3://bucket/key`, into a mapping that is not yet validated.

    Returns:
        The mapping, notes on what has no effect, and the faults that did not stop the
        reading: keys that stand twice.

    Raises:
        ConfigError: The file cannot be read or parsed, or is no mapping.
    """
    source = str(path)
    try:
        data = read_remote_config(source) if is_remote(source) else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(source, [f"file: cannot be read: {why}; check the path"]) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(source, [f"file: line {line} is not UTF-8; save it as UTF-8"]) from error
    if source.lower().endswith(".json"):
        document, notes = load_config_json(text, source=source)
        return document, notes, []
    document, faults = _parse_yaml(text, source)
    if "etl_config" in document:
        document, notes = convert_config(document, source=source)
        return document, notes, faults
    settings = document.get("settings")
    ignored = [key for key in IGNORED_SETTINGS if isinstance(settings, Mapping) and key in settings]
    notes = [f"settings.{key} has no effect: {IGNORED_SETTINGS[key]}" for key in ignored]
    return document, notes, faults


class _StrictLoader(yaml.SafeLoader):
    """YAML without surprises: `NO` is Norway, 1:30 and 010 are text, no key stands twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.faults: list[str] = []

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in first:
                self.faults.append(
                    f"line {line}: the key {quote(key.value)} stands in line {first[key.value]} "
                    "already; keep one"
                )
            elif isinstance(key, yaml.ScalarNode):
                first[key.value] = line
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _starts in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"-?(?:0|[1-9][0-9]{0,17})", "-0123456789"),
    ("float", r"-?[0-9]{1,18}\.[0-9]{0,18}", "-0123456789"),
):
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_starts)
    )


def _parse_yaml(text: str, source: str) -> tuple[dict[str, object], list[str]]:
    try:
        loader = _StrictLoader(text)
        document = loader.get_single_data()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        fault = f"line {line}: the character {quote(chr(error.character))} is not allowed in YAML"
        raise ConfigError(source, [fault]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(source, [f"line {line}: {error.problem or error.context}"]) from error
    except (ValueError, KeyError, RecursionError) as error:
        fault = "yaml: is nested too deeply, or has a tag such as !!int that does not fit its value"
        raise ConfigError(source, [fault]) from error
    if not isinstance(document, dict):
        raise ConfigError(source, [f"yaml: must be a mapping of keys, got {quote(document)}"])
    return document, loader.faults


def load_config_json(
    text: str, *, source: str = "config.json"
) -> tuple[dict[str, object], list[str]]:
    """Read the text of an old `config.json`.

    The result is our config as a plain mapping, not yet validated: what the old file got
    wrong is told by `oedi_spark.config.load_config`, under our names.

    Args:
        text: The file, with `//` and `/* */` comments and trailing commas as they may be.
        source: What an error calls the file.

    Returns:
        The config, and one note for each thing that was dropped or changed.

    Raises:
        ConfigError: The text is no JSON, a key stands twice, or it has no `etl_config`.
    """
    try:
        document = json5.loads(text, allow_duplicate_keys=False)
    except RecursionError as error:
        raise ConfigError(source, ["json: is nested too deeply"]) from error
    except ValueError as error:
        why = str(error).replace("<string>:", "line ", 1)
        raise ConfigError(source, [f"json: {why}"]) from error
    if not isinstance(document, Mapping):
        raise ConfigError(source, ["json: must be an object with the key etl_config"])
    return convert_config(document, source=source)


def convert_config(
    document: Mapping[str, object], *, source: str = "config.json"
) -> tuple[dict[str, object], list[str]]:
    """Convert an old config that has been parsed already.

    Raises:
        ConfigError: There is no `etl_config`, or a job names its metadata twice.
    """
    etl_config = document.get("etl_config")
    if not isinstance(etl_config, Mapping):
        raise ConfigError(source, ["etl_config: is required, and must be an object"])
    notes = [
        f"{key} was dropped: {_IGNORED_TOP_LEVEL.get(key, 'it is not part of etl_config')}"
        for key in document
        if key != "etl_config"
    ]
    config = _without_ignored(etl_config, "etl_config", notes)
    if isinstance(settings := config.get("settings"), Mapping):
        config["settings"] = _without_ignored(settings, "etl_config.settings", notes)
    if isinstance(jobs := config.get("job_specific"), list):
        faults: list[str] = []
        config["job_specific"] = [
            _convert_job(job, f"etl_config.job_specific[{index}]", notes, faults)
            for index, job in enumerate(jobs)
        ]
        if faults:
            raise ConfigError(source, faults)
    _place_output(config, notes)
    return config, notes


def to_yaml(config: RunConfig | Mapping[str, object]) -> str:
    """Print a config as YAML that `load_config` reads back to an equal `RunConfig`.

    Of a `RunConfig`, the main keys are always printed and the rest where it differs from
    its default. A mapping is printed as it stands.
    """
    document = _main_and_changed(config) if isinstance(config, BaseModel) else dict(config)
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


def parse_states(value: object) -> tuple[str, ...] | None:
    """The states of `CO`, `CO,GA`, `[CO, GA]` or `*`, which is None: every state.

    Raises:
        ValueError: Something is not a two-letter code in capitals.
    """
    states = split_list(value, "state")
    if states == [ALL]:
        return None
    bad = [state for state in states if not _STATE.fullmatch(state)]
    if bad:
        upper = ", ".join(one.upper() for one in bad if _STATE.fullmatch(one.upper()))
        way_out = f"write {upper}" if upper else f'write two capitals such as CO, or "{ALL}" alone'
        raise ValueError(f"{quote(bad)} is no state; {way_out}")
    return tuple(dict.fromkeys(states))


def parse_upgrades(value: object) -> tuple[int, ...] | None:
    """The upgrades of `0`, `0,2-4`, `[0, "2-4"]` or `*`, which is None: every upgrade.

    Raises:
        ValueError: Something is not a number from 0 to 9999, or a range that rises.
    """
    tokens = split_list(value, "upgrade")
    if tokens == [ALL]:
        return None
    upgrades: dict[int, None] = {}
    for token in tokens:
        match = _UPGRADES.fullmatch(token)
        if not match:
            raise ValueError(
                f"{quote(token)} is no upgrade; write numbers from 0 to 9999 without padding, "
                f'ranges such as "0-5", or "{ALL}" alone'
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f'{quote(token)} falls; write "{last}-{first}"')
        upgrades |= dict.fromkeys(range(first, last + 1))
    return tuple(upgrades)


def format_upgrades(upgrades: tuple[int, ...] | None) -> str:
    """Upgrades as a config spells them, with ranges; the inverse of `parse_upgrades`."""
    if upgrades is None:
        return ALL
    runs: list[list[int]] = []
    for upgrade in upgrades:
        if runs and upgrade == runs[-1][1] + 1:
            runs[-1][1] = upgrade
        else:
            runs.append([upgrade, upgrade])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def split_list(value: object, what: str) -> list[str]:
    """The items of a list, or of a text with commas; numbers become text.

    Raises:
        ValueError: There is none, or one is neither text nor a whole number.
    """
    items = value.split(",") if isinstance(value, str) else value
    listed = list(items) if isinstance(items, list | tuple) else [items]
    if not listed or None in listed:
        raise ValueError(f'names no {what}; write "{ALL}" for every {what}')
    bad = [one for one in listed if isinstance(one, bool) or not isinstance(one, str | int)]
    if bad:
        raise ValueError(f"{quote(bad[0])} is no {what}; write it in quotes")
    return [part.strip(" ") for one in listed for part in str(one).split(",")]


_WANTED: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is required",
        "model_type": "must be a mapping of keys",
        "tuple_type": "must be a list",
        "bool_type": "must be true or false",
        "string_type": "must be text",
    }
)


def describe_fault(error: ErrorDetails, known_keys: Sequence[str]) -> str:
    """Turn a fault of pydantic into `path: message`, with the value and the way out.

    Args:
        error: The fault.
        known_keys: The keys that its section has, for a key that is unknown.
    """
    path = ""
    for part in error["loc"]:
        plain = str(part) if re.fullmatch(r"[\w ]+", str(part)) else quote(part)
        path += f"[{part}]" if isinstance(part, int) and path else f".{plain}" if path else plain
    kind, cause = error["type"], error.get("ctx", {}).get("error")
    if cause is not None:
        return f"{path}: {cause}"
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), known_keys, n=1)
        way_out = f"did you mean {close[0]}?" if close else f"known are {', '.join(known_keys)}"
        return f"{path}: unknown key; {way_out}"
    wanted = _WANTED.get(kind) or error["msg"].removeprefix("Input ")
    return f"{path}: {wanted}" + ("" if kind == "missing" else f", got {quote(error['input'])}")


def quote(value: object) -> str:
    """Quote a value in one short line: it may hold newlines, or be very large."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    short = reprlib.Repr()
    short.maxstring, short.maxother, short.maxlevel = 90, 90, 2
    return short.repr(value)


def _without_ignored(
    section: Mapping[str, object], path: str, notes: list[str]
) -> dict[str, object]:
    """Copy a section without the settings that do nothing; `notes` grows by one for each."""
    notes += [
        f"{path}.{key} was dropped: {IGNORED_SETTINGS[key]}"
        for key in section
        if key in IGNORED_SETTINGS
    ]
    return {key: value for key, value in section.items() if key not in IGNORED_SETTINGS}


def _convert_job(job: object, path: str, notes: list[str], faults: list[str]) -> object:
    """Rename `metadata_location`, which is older than the metadata versions: always version 1."""
    if not isinstance(job, Mapping) or "metadata_location" not in job:
        return job
    converted = {key: value for key, value in job.items() if key != "metadata_location"}
    location = job["metadata_location"]
    if converted.setdefault("metadata_root_dir", location) != location:
        faults.append(
            f"{path}: metadata_location {quote(location)} contradicts metadata_root_dir "
            f"{quote(job['metadata_root_dir'])}; keep metadata_root_dir"
        )
    converted.setdefault("relative_metadata_prefix_type", 1)
    notes.append(
        f"{path}.metadata_location became metadata_root_dir, with relative_metadata_prefix_type "
        f"{converted['relative_metadata_prefix_type']}"
    )
    return converted


def _place_output(config: dict[str, object], notes: list[str]) -> None:
    """Say where `output_dir` lies now: it was a prefix in a bucket that the file never named."""
    output_dir = config.get("output_dir")
    if not isinstance(output_dir, str):
        return
    if not output_dir.startswith("s3://"):
        notes.append(
            f"output_dir {output_dir!r} was a prefix in the bucket of the deployment, and is a "
            f"local folder now: write s3://<bucket>/{output_dir.strip('/')} to publish to S3"
        )
    elif "catalog" not in config:
        config["catalog"] = {"type": "glue"}
        notes.append("catalog.type became glue, because output_dir is on S3")


def _main_and_changed(config: RunConfig) -> dict[str, object]:
    changed = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if not config.src_is_local:  # its default hangs on the bucket, not on the field
        changed["source"] = {"anonymous": config.source.anonymous} | changed.get("source", {})
    main = {
        "src_bucket": config.src_bucket,
        "base_partition": config.base_partition,
        "data_partition_in_release": config.data_partition_in_release,
        "output_dir": config.output_dir,
    }
    return {**main, **{key: value for key, value in changed.items() if value != {}}}

"""What several commands of `oedi-spark` have: options, and how a config is loaded for them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oedi_spark.config import RunConfig, load_config_with_notes
from oedi_spark.errors import ConfigError
from oedi_spark.escaping import in_ascii
from oedi_spark.log import configure_logs, get_logger

if TYPE_CHECKING:
    from oedi_spark.lake.catalog import CatalogLocation

ConfigOption = Annotated[
    str, typer.Option("--config", help="The YAML file of the run, here or at s3://bucket/key.")
]
"""A text, not a path: a path would make `s3:/bucket` of `s3://bucket`."""

_log = get_logger(__name__)


def load_logged(
    config: str,
    overrides: Mapping[str, object] | None = None,
    *,
    to_file: bool = True,
    in_glue: bool = False,
) -> RunConfig:
    """The config, and logs as it wants them; in Glue as the alarms read them, whatever it says.

    Raises:
        ConfigError: It is faulty, or its log cannot be written.
    """
    loaded, notes = load_config_with_notes(config, overrides)
    settings = loaded.settings
    configure_logs(
        level=_level(settings.logging_level, in_glue) if to_file else "WARNING",
        file=Path(settings.log_dir) / settings.log_filename if to_file else None,
        as_json=in_glue or settings.log_format == "json",
    )
    for note in notes:
        _log.warning("config", note=note)
    return loaded


def _level(configured: str, in_glue: bool) -> str:
    return "INFO" if in_glue and configured != "DEBUG" else configured


def load_quietly(config: str) -> tuple[RunConfig, tuple[str, ...]]:
    """The config and its notes for a command that prints a result: warnings alone are logged.

    Raises:
        ConfigError: It is faulty.
    """
    loaded, notes = load_config_with_notes(config)
    configure_logs(level="WARNING", file=None, as_json=loaded.settings.log_format == "json")
    return loaded, notes


def load_place(config: str) -> CatalogLocation:
    """Where the tables of a config lie; its notes are for `config check`, not repeated here."""
    loaded, _ = load_quietly(config)
    from oedi_spark.places import catalog_location  # a second of imports, as in cli.py

    return catalog_location(loaded)


def require_known(
    option: str, wanted: Sequence[str], known: Sequence[str], fault: str
) -> tuple[str, ...]:
    """The names that a repeatable option was given, all of them known ones.

    Raises:
        ConfigError: Some are not; of each the message says `fault`, and which one is near.
    """
    faults = []
    for each in wanted:
        if each not in known:
            near = difflib.get_close_matches(each, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            faults.append(f"{in_ascii(each)[:60]} {fault}; {hint}")
    if faults:
        raise ConfigError(option, faults)
    return tuple(wanted)

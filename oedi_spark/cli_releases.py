"""`oedi-spark releases`: prints the registry, and what a bucket has beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from oedi_spark.cli_options import ConfigOption
from oedi_spark.console import plain_console
from oedi_spark.errors import ConfigError
from oedi_spark.escaping import in_ascii

if TYPE_CHECKING:
    from oedi_spark.source.discover import FoundRelease
    from oedi_spark.source.layout import ReleaseFolder

releases_app = typer.Typer(help="List the releases that are known, and those of a bucket.")


@releases_app.callback(invoke_without_command=True)
def releases(context: typer.Context) -> None:
    """List the release registry: oedi-spark releases."""
    if context.invoked_subcommand is not None:
        return
    from oedi_spark.source.releases import load_releases

    known = load_releases()
    head = ("release", "weather", "hours", "stamp", "metadata", "pattern", "weight of")
    table = Table(*head, "upgrades", box=None)
    for folder, each in sorted(known.items()):
        table.add_row(
            _path(folder),
            each.weather,
            f"{each.expected_hours:,}" if each.expected_hours else "none",
            each.stamp or "",
            f"version {each.metadata_version}" if each.metadata_version else "national",
            each.patterns[0],
            each.weight_model,
            f"{len(each.upgrades) - 1}",
        )
    out = plain_console()
    out.print(table)
    out.print(f"{len(known)} releases; upgrades are counted without the baseline")


@releases_app.command()
def show(release: Annotated[str, typer.Argument(help="2024/comstock_…")]) -> None:
    """Print all that is known of one release, and the names of its upgrades."""
    from oedi_spark.source.releases import load_releases

    known = {_path(folder): each for folder, each in load_releases().items()}
    if release.strip("/") not in known:
        listed = [f"{release!r} is not registered", "`oedi-spark releases` lists those that are"]
        raise ConfigError("release", listed)
    found = known[release.strip("/")]
    out = plain_console()
    table = Table("attribute", "value", box=None, show_header=False)
    for name in (
        *("product", "weather", "has_series", "stamp", "interval_count", "calendar_year"),
        *("metadata_version", "baseline_word", "pads_upgrades", "series_unit_suffix"),
        *("metadata_unit_suffix", "weight_model", "uniform_weight"),
    ):
        value = getattr(found, name)
        table.add_row(name, "not known or none" if value is None else str(value))
    table.add_row("patterns", ", ".join(found.patterns))
    out.print(table)
    for upgrade in found.upgrades:
        name = found.upgrade_names.get(upgrade, "name not known")
        out.print(f"upgrade {upgrade}  {name}", soft_wrap=True)


@releases_app.command()
def discover(config: ConfigOption) -> None:
    """List a bucket's releases and say what the registry lacks."""
    from oedi_spark.config import load_config
    from oedi_spark.source.discover import discover_releases
    from oedi_spark.source.storage import open_storage
    from oedi_spark.survey import source_location

    loaded = load_config(config)
    location = source_location(loaded)
    found = discover_releases(open_storage(location), loaded.base_partition)
    out = plain_console()
    table = Table("release", "registry", "trees", "metadata patterns", box=None)
    for release in found.found:
        table.add_row(*_describe(release))
    for folder in found.absent:
        table.add_row(_path(folder), "not in the bucket", "", "")
    out.print(table)
    for other in found.others:
        out.print(f"no release  {in_ascii(other)}", soft_wrap=True)
    out.print(
        f"{len(found.found)} releases under {location}/{loaded.base_partition}: "
        f"{len(found.registered)} registered, {len(found.unregistered)} that the registry lacks; "
        f"{len(found.absent)} registered ones are not there",
        soft_wrap=True,
    )


def _describe(release: FoundRelease) -> tuple[str, str, str, str]:
    """One row: a tree per line, and of an unregistered release the patterns that were seen."""
    patterns = "\n".join(release.patterns) or "none known"
    return (
        _path(release.folder),
        "registered" if release.is_registered else "lacks it",
        "\n".join(release.trees),
        "as registered" if release.is_registered else patterns,
    )


def _path(folder: ReleaseFolder) -> str:
    return f"{folder.year}/{folder.name}"

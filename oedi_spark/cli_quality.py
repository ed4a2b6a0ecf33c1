"""`oedi-spark validate`: everything of a run but the commit, and what the quality gate found."""

from __future__ import annotations

import typer

from oedi_spark.cli_options import ConfigOption, load_quietly
from oedi_spark.escaping import printable
from oedi_spark.session import start_in_background


def validate(config: ConfigOption) -> None:
    """Run everything but the commit, print the quality report, and leave nothing behind."""
    loaded, notes = load_quietly(config)
    for note in notes:
        typer.echo(f"# {printable(note)}", err=True)
    spark = start_in_background()
    from oedi_spark import validation  # a second of imports, while Spark starts

    summary = validation.validate(loaded, spark)
    for line in validation.report(summary):
        typer.echo(printable(line))
    raise typer.Exit(summary.exit_code)

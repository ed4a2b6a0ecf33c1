"""`oedi-spark checksums`: prints the manifest of what a run would read, for `MD5SUMS`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from oedi_spark.cli_options import ConfigOption, load_quietly
from oedi_spark.errors import EXIT_DISCREPANCIES
from oedi_spark.escaping import in_ascii

if TYPE_CHECKING:
    from oedi_spark.contracts import SourceFile
    from oedi_spark.contracts_metadata import MetadataFile


def checksums(config: ConfigOption) -> None:
    """Print an md5sum line for each file that a run lists: … > MD5SUMS.

    Of a bucket these are its ETags, for a copy of it to be held against; of a local folder the
    files as they are now, whatever its own MD5SUMS says.
    """
    from oedi_spark.source.digests import find_md5s  # pyarrow: only when it is asked for
    from oedi_spark.source.manifest import format_line
    from oedi_spark.survey import list_source, source_location

    loaded, _ = load_quietly(config)
    location = replace(source_location(loaded), has_manifest=False)
    found = list_source(loaded, location)
    files: list[SourceFile | MetadataFile] = [*found.index.files, *found.metadata.files]
    without, unread = 0, 0
    for key, md5 in find_md5s(location, files, workers=loaded.settings.listing_workers):
        if isinstance(md5, str):
            typer.echo(format_line(key, md5), nl=False)
        elif md5 is None:
            without += 1
        else:
            unread += 1
            typer.echo(f"left out  {md5.reason}  {in_ascii(key)}  {in_ascii(md5.detail)}", err=True)
    if without:
        typer.echo(
            f"left out  {without:,} file(s) whose ETag is no MD5: uploaded in parts", err=True
        )
    if unread:
        raise typer.Exit(EXIT_DISCREPANCIES)

"""Files that lie among the buildings of a folder and are none of them."""

from __future__ import annotations

from collections.abc import Collection

from oedi_spark.sample.files import LakeWriter
from oedi_spark.sample.traps import Trap


def write_strays(
    lake: LakeWriter, prefix: str, *, upgrade: int, traps: Collection[Trap]
) -> dict[str, tuple[Trap, int]]:
    """Write the stray files that `traps` ask for into one folder: trap and size, by key.

    A hostile name is left out where the file system does not allow it.
    """
    contents: dict[str, tuple[Trap, bytes]] = {}
    if Trap.STRAY_FILES in traps:
        stray_names = ("_SUCCESS", "notes.txt", "123-0.parquet.tmp", f"456-{upgrade + 1}.parquet")
        contents |= dict.fromkeys(stray_names, (Trap.STRAY_FILES, b"no building\n"))
    if Trap.HOSTILE_NAME in traps:
        contents[f"789'\"\n-{upgrade}.parquet"] = (Trap.HOSTILE_NAME, b"no building\n")
    written = {}
    for name, (trap, content) in contents.items():
        try:
            size = lake.write(f"{prefix}/{name}", content)
        except OSError:
            if trap is not Trap.HOSTILE_NAME:
                raise
        else:
            written[f"{prefix}/{name}"] = (trap, size)
    return written

"""A saved query asked of another release, state, upgrade or county than it is saved with.

A saved query is valid SQL as it stands. Where a reader may choose, the predicate stands alone on
its line and ends in a marker: `AND h.state = 'CO' -- choose state`. Only the literal on such a
line is replaced, and only by a value that can be nothing but a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from oedi_spark.errors import ConfigError

_VALUES: Mapping[str, tuple[re.Pattern[str], str]] = MappingProxyType(
    {
        "release": (re.compile(r"[a-z0-9_.]{1,100}"), "2024_comstock_amy2018_release_1"),
        "state": (re.compile(r"[A-Z]{2}"), "CO"),
        "upgrade": (re.compile(r"0|[1-9][0-9]{0,3}"), "0"),
        "county": (re.compile(r"G[0-9]{7}"), "G0800310"),
    }
)
"""What may be chosen, what it looks like, an example."""

_MARKED = re.compile(
    r"(?P<head>[^'\n]*?=\s*)(?P<literal>'[^'\n]*'|[0-9]+)"
    r"(?P<tail>[ \t,)]*--[ \t]*choose[ \t]+(?P<what>[a-z]+)[ \t]*)"
)


def choose(name: str, text: str, wanted: Mapping[str, str]) -> str:
    """Replace the literals of a saved query.

    Args:
        name: The query's, for what is said of faults.
        text: Its SQL.
        wanted: `release`, `state`, `upgrade`, `county` to value; each as often as it is marked.

    Returns:
        The SQL to run; as it was where nothing was wanted.

    Raises:
        ConfigError: With every value that is none, and every one that the query does not ask.
    """
    lines = text.split("\n")
    offered: list[str] = []
    for at, line in enumerate(lines):
        marked = _MARKED.fullmatch(line.rstrip("\r"))
        if marked and marked["what"] in _VALUES:
            offered.append(marked["what"])
            if marked["what"] in wanted:
                value = wanted[marked["what"]]
                bare = value.isdigit() and not marked["literal"].startswith("'")
                literal = value if bare else f"'{value}'"
                lines[at] = f"{marked['head']}{literal}{marked['tail']}"
    faults = [*_faulty(wanted), *_unasked(wanted, offered)]
    if faults:
        raise ConfigError(f"the query {name}", faults)
    return "\n".join(lines)


def _faulty(wanted: Mapping[str, str]) -> list[str]:
    return [
        f"--{what} {value[:60]!r} is none; write it like {_VALUES[what][1]}"
        for what, value in wanted.items()
        if not _VALUES[what][0].fullmatch(value)
    ]


def _unasked(wanted: Mapping[str, str], offered: list[str]) -> list[str]:
    known = ", ".join(f"--{each}" for each in dict.fromkeys(offered))
    way_out = f"it asks for {known}" if offered else "it asks for nothing: leave it out"
    return [f"--{what} changes nothing in it; {way_out}" for what in wanted if what not in offered]

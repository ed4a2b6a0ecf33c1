"""Text from outside, such as names of files and words of servers, as it may be printed.

A name may hold what breaks a line or moves the cursor; an event or a row is one line all the same.
"""

from __future__ import annotations


def printable(text: object) -> str:
    """The text with every character escaped that is not printed as itself."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def in_ascii(text: object) -> str:
    """The text with every character escaped that is not plain ASCII, and backslashes doubled."""
    return str(text).encode("unicode_escape").decode()

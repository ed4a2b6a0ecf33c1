r"""`MD5SUMS`: what a local folder should hold, and the MD5 of each file, as `md5sum` writes it.

A line is 32 hex digits, two spaces (or a space and an asterisk) and a path with slashes, below the
folder that the manifest lies in. In one that begins with a backslash, a newline, a carriage return
and a backslash of the path are `\n`, `\r` and `\\`. Empty lines, and those after `#`, say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from oedi_spark.errors import ChecksumsError

MANIFEST_NAME = "MD5SUMS"

_LINE = re.compile(r"(\\?)([0-9A-Fa-f]{32}) [ *](.+)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_PLAIN = {"\\": "\\", "n": "\n", "r": "\r"}
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Manifest:
    """The MD5 of each named file by folder and name; `folders` are those above them, by folder.

    A folder is named as a prefix is: without a slash at its end, the root as nothing.
    """

    md5s: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folders: Mapping[str, frozenset[str]] = field(default_factory=dict)
    modified_at_utc: str = ""

    def files_in(self, folder: str) -> Mapping[str, str]:
        """The MD5 of each file that is named directly in a folder, by its name."""
        return self.md5s.get(folder, _NOTHING)

    def folders_in(self, folder: str) -> frozenset[str]:
        """The names of the folders directly in a folder below which anything is named."""
        return self.folders.get(folder, frozenset())

    def by_key(self) -> dict[str, str]:
        """The MD5 of each named file, by its path below the root."""
        return {
            f"{folder}/{name}" if folder else name: md5
            for folder, files in self.md5s.items()
            for name, md5 in files.items()
        }


def parse_manifest(content: bytes, path: str, modified_at_utc: str = "") -> Manifest:
    """Read a manifest; of a hundred thousand lines in a fraction of a second.

    Args:
        content: The file.
        path: Where it lies, for the error.
        modified_at_utc: When it was written.

    Raises:
        ChecksumsError: A line is none of md5sum's, leads out of the folder, or gives a file that
            was named before another MD5.
    """
    md5s: dict[str, dict[str, str]] = {}
    for number, line in enumerate(content.decode("utf-8", "surrogateescape").split("\n"), 1):
        # md5sum escapes a carriage return in a name, so one at the end is of a Windows line.
        text = line.removesuffix("\r")
        if not text or text.startswith("#"):
            continue
        try:
            folder, name, md5 = _parse_line(text)
            files = md5s.get(folder)
            if files is None:
                _require_inside(folder)
                files = md5s[folder] = {}
            if files.setdefault(name, md5) != md5:
                raise ValueError("the file was named before, with another MD5")
        except ValueError as error:
            raise ChecksumsError(path, number, f"{error}: {text[:200]!r}") from None
    return Manifest(md5s, _folders_above(md5s), modified_at_utc)


def _parse_line(text: str) -> tuple[str, str, str]:
    """(folder, name, MD5) of a line; `ValueError` says why it has none."""
    found = _LINE.fullmatch(text)
    if found is None:
        raise ValueError("not 32 hex digits, two spaces and a path")
    is_escaped, md5, path = found.groups()
    if is_escaped:
        path = _ESCAPED.sub(_unescape, path)
    while path.startswith("./"):  # `find . -type f` names them so
        path = path[2:]
    folder, slash, name = path.rpartition("/")
    if name in ("", ".", "..") or "\0" in path or (slash and not folder):
        raise ValueError("not the path of a file below the folder")
    return folder, name, md5.lower()


def _unescape(found: re.Match[str]) -> str:
    if found[1] not in _PLAIN:
        raise ValueError(f"an escape that md5sum does not write ({found[0]!r})")
    return _PLAIN[found[1]]


def _require_inside(folder: str) -> None:
    if folder and not {"", ".", ".."}.isdisjoint(folder.split("/")):
        raise ValueError("not the path of a file below the folder")


def _folders_above(folders: Iterable[str]) -> dict[str, frozenset[str]]:
    above: dict[str, set[str]] = {}
    for each in folders:
        folder = each
        while folder:
            parent, _, name = folder.rpartition("/")
            names = above.setdefault(parent, set())
            if name in names:
                break
            names.add(name)
            folder = parent
    return {folder: frozenset(names) for folder, names in above.items()}


def format_line(key: str, md5: str) -> bytes:
    """The line of one file as `md5sum` writes it, with its end."""
    escaped = key.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != key else ""
    return f"{mark}{md5}  {escaped}\n".encode("utf-8", "surrogateescape")

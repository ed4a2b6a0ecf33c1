"""Every * in a policy of the source has a comment that says why."""

from __future__ import annotations

import re

from tests.conftest import PROJECT

WILDCARD = re.compile(r"\"[^\"]*\*[^\"]*\"")
NO_POLICY = re.compile(
    r"^\s*(description|error_message|condition|exclusions|#)|regex\(|replace\(|fileset\(|SEARCH\("
)


def unexplained(text: str) -> list[str]:
    """Lines of Terraform with a * in a text, without a comment on them or where they begin."""
    lines = text.splitlines()
    return [
        line.strip()
        for number, line in enumerate(lines)
        if WILDCARD.search(line) and not NO_POLICY.search(line) and not _explained(lines, number)
    ]


def _explained(lines: list[str], number: int) -> bool:
    """A comment on the line, or above it up to where its list begins; further up, one of a *."""
    depth = 0
    for line in reversed(lines[: number + 1]):
        comment = line.partition("#")[2]
        if comment and (depth >= -1 or "*" in comment):
            return True
        code = WILDCARD.sub("", line)
        depth += len(re.findall(r"[\]})]", code)) - len(re.findall(r"[\[{(]", code))
        if not line.strip():
            return False
    return False


def test_every_wildcard_in_the_source_says_why() -> None:
    files = sorted((PROJECT / "infra" / "terraform").rglob("*.tf"))
    assert len(files) > 20
    found = {file: unexplained(file.read_text("utf-8")) for file in files}
    assert {str(file.relative_to(PROJECT)): each for file, each in found.items() if each} == {}


def test_wildcard_without_a_comment_is_found() -> None:
    bare = """
  statement {
    actions   = ["s3:*"]
    resources = ["arn:x"]
  }
"""
    said = """
  # Everything, because it is a refusal.
  statement {
    actions = ["s3:*"]
  }

  tables = [
    # its own
    "arn:one",
    "arn:two/*",
  ]
"""
    assert unexplained(bare) == ['actions   = ["s3:*"]']
    assert unexplained(said) == []

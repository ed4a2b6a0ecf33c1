"""What IAM policies allow, worked out as IAM does it; for tests, on the subset that ours use.

A condition, an element or a variable that this does not know is an error, never a yes: a test
must not pass because its evaluator looked away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

Policy = Mapping[str, Any]

_KNOWN = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)


@dataclass(frozen=True)
class Request:
    """One thing that somebody wants to do; keys of the context in lower case, one value each."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)


def is_allowed(policies: Iterable[Policy], request: Request) -> bool:
    """Whether the identity's policies allow it: some statement does, and none denies it.

    Raises:
        NotImplementedError: A statement has something that this does not know.
    """
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in statements(policy)
        if applies(statement, request)
    }
    return effects == {"Allow"}


def statements(policy: Policy) -> Iterator[Mapping[str, Any]]:
    """The statements of a policy; one alone may stand without a list."""
    found = policy["Statement"]
    for statement in [found] if isinstance(found, Mapping) else found:
        if unknown := statement.keys() - _KNOWN:
            raise NotImplementedError(f"{sorted(unknown)} in a statement")
        yield statement


def applies(statement: Mapping[str, Any], request: Request) -> bool:
    """Whether a statement speaks of a request, whoever makes it."""
    return (
        _names(statement, "Action", request.action.lower(), lower=True)
        and _names(statement, "Resource", request.resource)
        and all(
            _holds(operator, key.lower(), as_list(values), request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def as_list(values: Any) -> list[str]:  # noqa: ANN401 - a policy's JSON
    """What may stand in a policy as one or as a list, as a list of texts."""
    listed = values if isinstance(values, list) else [values]
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in listed]


def _names(statement: Mapping[str, Any], element: str, wanted: str, *, lower: bool = False) -> bool:
    def any_like(values: Any) -> bool:  # noqa: ANN401 - a policy's JSON
        return any(like(each.lower() if lower else each, wanted) for each in as_list(values))

    if element in statement:
        return any_like(statement[element])
    if f"Not{element}" in statement:
        return not any_like(statement[f"Not{element}"])
    # The policy that says who may take a role has no resource: it is the role.
    return element == "Resource"


def like(pattern: str, text: str) -> bool:
    """Whether a text is like a pattern of IAM: * for anything, ? for one character."""
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    if "${" in pattern:
        raise NotImplementedError(f"a variable in {pattern}")
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = MappingProxyType(
    {
        "StringEquals": lambda has, want: has == want,
        "StringNotEquals": lambda has, want: has == want,
        "StringLike": lambda has, want: like(want, has),
        "StringNotLike": lambda has, want: like(want, has),
        "ArnEquals": lambda has, want: like(want, has),
        "ArnLike": lambda has, want: like(want, has),
        "Bool": lambda has, want: has.lower() == want.lower(),
        "NumericLessThan": lambda has, want: float(has) < float(want),
    }
)


def _holds(operator: str, key: str, values: list[str], context: Mapping[str, str]) -> bool:
    """One line of a condition. A key that the request lacks holds only where it is denied."""
    name = operator.removeprefix("ForAnyValue:")
    test, if_exists = name.removesuffix("IfExists"), name.endswith("IfExists")
    compare = _COMPARISONS.get(test)
    if compare is None:
        raise NotImplementedError(f"the condition {operator}")
    is_negative = "Not" in test
    if key not in context:
        return if_exists or is_negative
    found = any(compare(context[key], want) for want in values)
    return not found if is_negative else found

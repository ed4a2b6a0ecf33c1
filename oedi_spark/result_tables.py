"""The tables and numbers of the code that decide values and verdicts, as one digest.

Ranges, units, column rules and scales are constants in the modules that apply them. A change of
one is a change of results, so that partitions made with another are done again by themselves;
what is code and no constant is covered by `FORMAT_VERSION` alone.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from importlib import import_module
from types import ModuleType

from oedi_spark import transform
from oedi_spark.source import states
from oedi_spark.source.errata import Erratum
from oedi_spark.transform.rule_kinds import QualityRule

_FOR_PEOPLE = frozenset({"what", "source", "sentence"})
"""Of errata and rules: words that change no verdict."""


def judging_modules() -> tuple[ModuleType, ...]:
    """Whose constants count: all that has a part in values and verdicts; new ones by themselves.

    A constant is a name in capitals that is made of numbers, texts, patterns and rules. Some
    decide nothing but memory; a change of one does partitions again, and no harm.
    """
    names = sorted(each.name for each in pkgutil.iter_modules(transform.__path__))
    return (states, *(import_module(f"{transform.__name__}.{name}") for name in names))


@cache
def digest_tables() -> str:
    """Of every constant of these modules; the same in each process of the same code."""
    return digest_constants(judging_modules())


def digest_constants(modules: Iterable[ModuleType]) -> str:
    """Sixteen hex digits of the constants of these modules, by module and name."""
    told: dict[str, object] = {}
    for module in modules:
        for name, value in vars(module).items():
            if name.isupper():
                try:
                    told[f"{module.__name__}.{name}"] = plain(value)
                except TypeError:  # a schema, a function: code, as far as this is concerned
                    continue
    text = json.dumps(told, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def say_errata(errata: Iterable[Erratum]) -> object:
    """What of these errata decides a verdict, as JSON can hold it."""
    return [plain(each) for each in errata]


def plain(value: object) -> object:
    """A constant as JSON can hold it; a set in order, for its own differs by process.

    Raises:
        TypeError: It is, or holds, something else than numbers, texts, patterns, rules and errata.
    """
    told: object
    if isinstance(value, QualityRule | Erratum):
        told = plain({name: each for name, each in vars(value).items() if name not in _FOR_PEOPLE})
    elif isinstance(value, Enum):
        told = plain(value.value)
    elif value is None or isinstance(value, bool | int | float | str):
        told = value
    elif isinstance(value, re.Pattern):
        told = [str(value.pattern), value.flags]
    elif isinstance(value, Mapping):
        told = sorted(([plain(key), plain(each)] for key, each in value.items()), key=json.dumps)
    elif isinstance(value, frozenset | set):
        told = sorted((plain(each) for each in value), key=json.dumps)
    elif isinstance(value, tuple | list):
        told = [plain(each) for each in value]
    else:
        raise TypeError(f"{type(value).__name__} is no plain constant")
    return told

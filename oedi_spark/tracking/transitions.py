"""The accumulator that carries {file ordinal: transitions} from the tasks to the driver."""

from __future__ import annotations

from pyspark.accumulators import AccumulatorParam


class TransitionsParam(AccumulatorParam[dict[int, int]]):
    """How Spark merges two records: a bitwise or per file, so that twice counts once."""

    def zero(self, value: dict[int, int]) -> dict[int, int]:  # noqa: ARG002 - Spark's signature
        """Nothing has happened to any file."""
        return {}

    def addInPlace(  # noqa: N802 - Spark's name
        self, value1: dict[int, int], value2: dict[int, int]
    ) -> dict[int, int]:
        """The union of two records."""
        for ordinal, transitions in value2.items():
            value1[ordinal] = value1.get(ordinal, 0) | transitions
        return value1

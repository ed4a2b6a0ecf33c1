"""What the quality gate found in a run: every rule with its counts, every partition's statistics.

Part of stage 7 of 7: writer → TRACKER.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from oedi_spark.contracts import (
    BatchResult,
    FileOutcome,
    MeasureStatistics,
    Partition,
    RuleFinding,
)
from oedi_spark.transform.claims import Breach
from oedi_spark.transform.rule_kinds import SCORE_WEIGHTS, QualityRule, Scope, Severity
from oedi_spark.transform.rules import (
    ENOUGH_FILES_PASS,
    RULE_OF,
    RULE_OF_REASON,
    RULES,
    RuleBook,
)
from oedi_spark.transform.statistics import find_median

_SHOWN = 10
_PROOFS = tuple(rule for rule in RULES if rule.reasons)


@dataclass(frozen=True)
class RuleCount:
    """Of how many buildings (or partitions) a rule was asked, and of how many it does not hold."""

    asked: int
    broken: int


@dataclass(frozen=True)
class PartitionQuality:
    """One partition as the gate saw it. `breaches`: rules of the partition itself, in words."""

    partition: str
    score: float | None
    breaches: tuple[str, ...]
    statistics: Mapping[str, MeasureStatistics]

    def as_json(self) -> dict[str, object]:
        """Its entry in `quality.partitions`; measures that are zero throughout are only named."""
        zero = sorted(name for name, each in self.statistics.items() if _is_zero(each))
        return {
            "partition": self.partition,
            "score": self.score,
            "breaches": list(self.breaches),
            "measures": {
                name: describe(each)
                for name, each in sorted(self.statistics.items())
                if name not in zero
            },
            "zero_measures": zero,
        }

    def measure_lines(self) -> Iterator[str]:
        """Its energies for a person: those of whole buildings and fuels, whose names say total."""
        for name, each in sorted(self.statistics.items()):
            if name.endswith("_total_energy_consumption_kwh") and not _is_zero(each):
                told = describe(each)
                median, mean = told["year_median"], told["year_mean"]
                if median is None or mean is None:
                    continue
                yield (
                    f"    {name.removeprefix('out_').removesuffix('_energy_consumption_kwh')}: "
                    f"{each.building_count:,} buildings, kWh a year: median {median:,.0f}, "
                    f"mean {mean:,.0f}; hours {told['hour_min']:,.4g} to {told['hour_max']:,.4g}, "
                    f"{told['completeness']:.2%} there"
                )


@dataclass(frozen=True)
class QualitySummary:
    """The gate's part of a run's summary. `findings`: by key, rules that only warn.

    `unverified`: by release, rules that block elsewhere and only warn of this one. `severities`:
    as the strictest release of the run takes each.
    """

    score: float | None = None
    rules: Mapping[str, RuleCount] = field(default_factory=dict)
    severities: Mapping[str, Severity] = field(default_factory=dict)
    findings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    partitions: tuple[PartitionQuality, ...] = ()
    unverified: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The key `quality` of the summary."""
        return {
            "score": self.score,
            "rules": {
                name: {
                    "severity": self.severities[name].value,
                    "asked": count.asked,
                    "broken": count.broken,
                }
                for name, count in self.rules.items()
            },
            "findings": {key: list(told) for key, told in self.findings.items()},
            "partitions": [each.as_json() for each in self.partitions],
            "unverified": {release: list(names) for release, names in self.unverified.items()},
        }

    def as_lines(self) -> Iterator[str]:
        """For a person: the score, and whatever does not hold. Names are not yet escaped."""
        if self.score is None:
            return
        asked = sum(1 for count in self.rules.values() if count.asked)
        broken = [name for name, count in self.rules.items() if count.broken]
        score = f"{self.score:.2%} of the claims hold"
        yield f"  quality   {score}, weighted; {len(broken)} of {asked} rules are broken"
        for release, names in self.unverified.items():
            yield f"  note      not verified on {release}, so that they do not block:"
            yield f"            {', '.join(names)}"
        for name in broken:
            count, severity = self.rules[name], self.severities[name]
            of = "buildings" if RULE_OF[name].scope is Scope.FILE else "partitions"
            yield f"  {severity:<9} {name}: {count.broken:,} of {count.asked:,} {of}"
        for each in self.partitions:
            yield from (f"  {each.partition}: {breach}" for breach in each.breaches)
        told = [(key, detail) for key, details in self.findings.items() for detail in details]
        for key, detail in told[:_SHOWN]:
            yield f"  warned    {key.rsplit('/', 1)[-1]}  {detail}"
        if len(told) > _SHOWN:
            yield f"  warned    … and {len(told) - _SHOWN} more, all in the JSON summary"


class QualityTracker:
    """Collects what the tasks and the driver found; complete at every moment."""

    def __init__(self, book: RuleBook) -> None:
        self.book = book
        self._findings: dict[int, list[RuleFinding]] = {}
        self._asked: dict[Partition, Counter[str]] = {}
        self._breaches: dict[Partition, list[Breach]] = {}
        self.statistics: dict[Partition, dict[str, MeasureStatistics]] = {}

    def record_result(self, partition: Partition, result: BatchResult) -> None:
        """Take over what one task found."""
        for finding in result.findings:
            self._findings.setdefault(finding.ordinal, []).append(finding)
        self._asked.setdefault(partition, Counter()).update(result.judged)
        known = self.statistics.setdefault(partition, {})
        for name, each in result.statistics.items():
            known[name] = known[name].merged(each) if name in known else each

    def record_breaches(self, partition: Partition, breaches: Iterable[Breach]) -> None:
        """Take over what does not hold of a partition as a whole."""
        self._breaches[partition] = list(breaches)

    def summarise(
        self,
        files: Mapping[Partition, Mapping[int, str]],
        outcomes: Mapping[int, FileOutcome],
        metadata_reasons: Iterable[str] = (),
        withheld: Collection[Partition] = (),
    ) -> QualitySummary:
        """Everything that was found.

        Args:
            files: Of each partition the files whose bytes are there: key by ordinal.
            outcomes: Of files, by ordinal.
            metadata_reasons: Why metadata files, or rows of them, were refused.
            withheld: Partitions of which too many files failed, or nothing was left.
        """
        whole: dict[str, RuleCount] = {}
        parts = []
        for partition, keys in sorted(files.items()):
            counts = self._count(partition, keys, outcomes)
            if partition in withheld and ENOUGH_FILES_PASS.name in counts:
                counts[ENOUGH_FILES_PASS.name] = RuleCount(1, 1)
            for name, count in counts.items():
                before = whole.get(name, RuleCount(0, 0))
                whole[name] = RuleCount(before.asked + count.asked, before.broken + count.broken)
            parts.append(
                PartitionQuality(
                    partition=str(partition),
                    score=_score(counts, self._severities(counts, [partition.release])),
                    breaches=tuple(
                        f"{each.rule.name}: {each.detail}"
                        for each in self._breaches.get(partition, ())
                    ),
                    statistics=self.statistics.get(partition, {}),
                )
            )
        for rule in _proofs_of(metadata_reasons):
            before = whole.get(rule.name, RuleCount(0, 0))
            whole[rule.name] = RuleCount(before.asked + 1, before.broken + 1)
        names = [rule.name for rule in RULES if rule.name in whole]
        releases = sorted({partition.release for partition in files})
        severities = self._severities(names, releases)
        return QualitySummary(
            score=_score(whole, severities),
            rules={name: whole[name] for name in names},
            severities=severities,
            findings={
                key: tuple(f"{each.rule}: {each.detail}" for each in self._findings[ordinal])
                for keys in files.values()
                for ordinal, key in keys.items()
                if ordinal in self._findings
            },
            partitions=tuple(parts),
            unverified=dict(self._unverified(releases)),
        )

    def _severities(self, names: Iterable[str], releases: Collection[str]) -> dict[str, Severity]:
        """How each rule is taken, by the release that takes it the most seriously."""
        books = [self.book.of(release) for release in releases] or [self.book]
        return {
            name: max(
                (book.severity(RULE_OF[name]) for book in books), key=SCORE_WEIGHTS.__getitem__
            )
            for name in names
        }

    def _unverified(self, releases: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """By release the rules that were asked and do not block, although they do elsewhere."""
        for release in releases:
            book = self.book.of(release)
            asked = {
                name
                for partition, counts in self._asked.items()
                if partition.release == release
                for name in counts
            }
            eased = (rule.name for rule in RULES if rule.name in asked and book.is_eased(rule))
            if told := tuple(eased):
                yield release, told

    def _count(
        self, partition: Partition, keys: Mapping[int, str], outcomes: Mapping[int, FileOutcome]
    ) -> dict[str, RuleCount]:
        asked, broken = Counter(self._asked.get(partition, {})), Counter[str]()
        for rule in _PROOFS:
            if keys and not _is_of_metadata(rule):
                asked[rule.name] = len(keys)
        for ordinal in keys:
            outcome = outcomes.get(ordinal)
            if outcome is not None and outcome.reason is not None:
                proof = RULE_OF_REASON.get(outcome.reason)
                name = proof.name if proof else outcome.reason.value
                broken[name] += name in asked
            broken.update(each.rule for each in self._findings.get(ordinal, ()))
        if partition in self._breaches:
            found = {breach.rule.name for breach in self._breaches[partition]}
            for rule in RULES:
                if rule.scope is Scope.PARTITION and self.book.is_on(rule):
                    asked[rule.name], broken[rule.name] = 1, int(rule.name in found)
        return {name: RuleCount(count, broken[name]) for name, count in asked.items() if count}


def _score(counts: Mapping[str, RuleCount], severities: Mapping[str, Severity]) -> float | None:
    """The share of claims that hold, each weighted by how much it matters."""
    weights = {name: SCORE_WEIGHTS[severities[name]] * each.asked for name, each in counts.items()}
    whole = sum(weights.values())
    if not whole:
        return None
    lost = sum(weights[name] * count.broken / count.asked for name, count in counts.items())
    return 1 - lost / whole


def describe(statistics: MeasureStatistics) -> dict[str, float | None]:
    """Statistics of a measure as the summary prints them; years are those that lack no hour.

    Parquet writes a least value of zero as -0.0, which the addition undoes.
    """
    count = statistics.building_count
    filled = statistics.hour_count - statistics.null_count
    return {
        "buildings": count,
        "completeness": filled / statistics.hour_count if statistics.hour_count else None,
        "hour_min": None if statistics.lower is None else statistics.lower + 0.0,
        "hour_max": None if statistics.upper is None else statistics.upper + 0.0,
        "year_total": statistics.annual_total,
        "year_mean": statistics.annual_total / count if count else None,
        "year_median": find_median(statistics.histogram),
    }


def _proofs_of(reasons: Iterable[str]) -> Iterator[QualityRule]:
    """The proof that is lacking, of each reason that is one's."""
    for reason in reasons:
        yield from (rule for rule in _PROOFS if reason in rule.reasons)


def _is_zero(statistics: MeasureStatistics) -> bool:
    return statistics.lower == statistics.upper == 0 and not statistics.null_count


def _is_of_metadata(rule: QualityRule) -> bool:
    return rule.name.startswith(("weights_", "places_", "metadata_"))

"""The rules of the quality gate: each a claim, how much it weighs, and where it stops holding.

`conf/quality.yaml` lists the same with the same defaults; a config may change what it names
(`settings.quality_rules`). A rule of scope `file` is judged in the task, one building at a time;
one of scope `partition` on the driver, when all files of a partition are in.

A rule with `reasons` is proved before there are any hours: without it nobody knows whose the
values are, or of which hour. It always blocks: there is nothing that could be published instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from oedi_spark.contracts import Reason
from oedi_spark.transform.published_rules import PUBLISHED_RULES
from oedi_spark.transform.rule_kinds import Limit, QualityRule, Scope, Severity


def _proof(name: str, sentence: str, *reasons: Reason) -> QualityRule:
    return QualityRule(name, Scope.FILE, Severity.BLOCK, None, sentence, reasons, is_fixed=True)


def _file(name: str, severity: Severity, threshold: float, sentence: str) -> QualityRule:
    return QualityRule(name, Scope.FILE, severity, threshold, sentence)


def _account(
    name: str, threshold: float, sentence: str, verified_on: frozenset[str]
) -> QualityRule:
    """What a release's accounts must come to: it blocks where they were seen to."""
    return replace(_file(name, Severity.BLOCK, threshold, sentence), verified_on=verified_on)


def _partition(
    name: str, severity: Severity, threshold: float | None, sentence: str, *, fixed: bool = False
) -> QualityRule:
    return QualityRule(name, Scope.PARTITION, severity, threshold, sentence, is_fixed=fixed)


_PROOFS = (
    _proof(
        "file_is_as_listed",
        "The bytes are those that the listing promised.",
        Reason.CHANGED_SINCE_LISTING,
        Reason.SIZE_MISMATCH,
        Reason.CHECKSUM_MISMATCH,
    ),
    _proof(
        "file_is_sound",
        "The file is whole parquet of a size that a building can have.",
        Reason.EMPTY,
        Reason.NOT_PARQUET,
        Reason.TRUNCATED,
        Reason.UNREADABLE,
        Reason.TOO_LARGE,
    ),
    _proof(
        "keys_are_present",
        "There are a stamp and a bldg_id in every row.",
        Reason.MISSING_TIMESTAMP,
        Reason.MISSING_BLDG_ID,
    ),
    _proof(
        "id_matches_name",
        "Every row is of the building in the file's name.",
        Reason.BLDG_ID_CONTRADICTS_NAME,
    ),
    _proof(
        "columns_are_understood",
        "Every measure is a number and has a name and a rule of its own.",
        Reason.NOT_NUMERIC,
        Reason.COLUMN_COLLISION,
        Reason.UNKNOWN_COLUMN,
    ),
    _proof(
        "stamps_are_regular",
        "The stamps are times, in order, one step apart.",
        Reason.STAMPS_NOT_TIME,
        Reason.STAMPS_UNSORTED,
        Reason.STAMPS_IRREGULAR,
    ),
    _proof("hours_are_not_doubled", "No stamp comes twice.", Reason.STAMPS_DUPLICATED),
    _proof(
        "first_stamp_proves_hours",
        "The first stamp names that end of its interval which the release declares.",
        Reason.STAMP_CONTRADICTS_RELEASE,
    ),
    _proof(
        "year_is_whole",
        "The rows are a whole year, of the release's weather.",
        Reason.NO_ROWS,
        Reason.WRONG_ROW_COUNT,
        Reason.WRONG_YEAR,
    ),
    _proof("values_are_finite", "No value is infinite, and none sums to it.", Reason.NOT_FINITE),
    _proof(
        "weights_are_positive",
        "Every row of the metadata has a weight, finite, not negative, below 1e9.",
        Reason.MISSING_WEIGHT,
        Reason.WEIGHT_NULL,
        Reason.WEIGHT_NEGATIVE,
        Reason.WEIGHT_OUT_OF_RANGE,
    ),
    _proof(
        "places_match_names",
        "Rows of the metadata are of the state, county (GISJOIN) and upgrade that the name says.",
        Reason.STATE_CONTRADICTS_NAME,
        Reason.COUNTY_CONTRADICTS_NAME,
        Reason.UPGRADE_CONTRADICTS_NAME,
    ),
    _proof(
        "metadata_rows_are_distinct",
        "No building has two rows in one geography.",
        Reason.ROWS_DUPLICATED,
    ),
)

REAL_FILES = frozenset({"2022_resstock_amy2018_release_1", "2024_comstock_amy2018_release_1"})
"""The releases of which real series were at hand."""

ENERGY_IS_NOT_NEGATIVE = _account(
    "energy_is_not_negative",
    0.000001,
    "No energy of an hour is below zero by more than the threshold (kWh); generation (pv), "
    "purchase, net and savings columns may be.",
    REAL_FILES,
)
END_USES_SUM_TO_FUEL_TOTALS = _account(
    "end_uses_sum_to_fuel_totals",
    0.002,
    "In every hour the end uses of a fuel add up to its total, within the threshold (kWh) for "
    "each column that is added and 2e-6 of the total.",
    REAL_FILES,
)
FUEL_TOTALS_SUM_TO_SITE_ENERGY = _account(
    "fuel_totals_sum_to_site_energy",
    0.002,
    "In every hour the totals of the fuels add up to site energy, within the threshold (kWh) for "
    "each column that is added and 2e-6 of site energy.",
    REAL_FILES,
)
NET_IS_TOTAL_AND_GENERATION = _account(
    "net_is_total_and_generation",
    0.002,
    "In every hour net energy is the total less the generation (pv), whichever sign that has over "
    "the year, within the threshold (kWh) for each column; not asked of a net column that is zero "
    "all year.",
    frozenset(),
)
HOURS_SUM_TO_INTERVALS = _file(
    "hours_sum_to_intervals",
    Severity.BLOCK,
    0.000000001,
    "The hours of a measure add up to its intervals, added by themselves, within that share; "
    "of a measure that is averaged, a quarter of them.",
)
ENERGY_IS_INTENSITY_TIMES_AREA = _account(
    "energy_is_intensity_times_area",
    0.000002,
    "Every energy is its intensity times one and the same floor area, within that share, over "
    "the year for each column and in every hour for all of them.",
    REAL_FILES,
)
ENERGY_IS_NO_POWER = _file(
    "energy_is_no_power",
    Severity.BLOCK,
    0.02,
    "No energy of 100 kWh a year or more is 4 times or a quarter of its intensity times the floor "
    "area, within that share: so looks kW that is read as kWh per quarter-hour, or the reverse.",
)
VALUES_ARE_POSSIBLE = _file(
    "values_are_possible",
    Severity.BLOCK,
    1.0,
    "Every value lies within what its unit can hold at all, widened by that factor.",
)
VALUES_ARE_PLAUSIBLE = _file(
    "values_are_plausible",
    Severity.WARN,
    1.0,
    "Every value lies within what its unit usually holds, widened by that factor.",
)
INTENSITY_IS_PLAUSIBLE = _file(
    "intensity_is_plausible",
    Severity.WARN,
    1.0,
    "The site energy of a year per floor area is one that a building of its sort can have, "
    "the range widened by that factor.",
)
VALUES_ARE_COMPLETE = _file(
    "values_are_complete",
    Severity.WARN,
    0.0,
    "No more than that many hours of a building lack a value in a column that it has.",
)
ENOUGH_FILES_PASS = _partition(
    "enough_files_pass",
    Severity.BLOCK,
    None,
    "No larger share of the files fails than settings.max_failed_fraction, and something is left.",
    fixed=True,
)
ROWS_ARE_AS_MANY_AS_PROVED = _partition(
    "rows_are_as_many_as_proved",
    Severity.BLOCK,
    None,
    "The staged rows are a whole year for each building that passed, and not none.",
    fixed=True,
)
STATE_IS_KNOWN = _partition(
    "state_is_known", Severity.WARN, None, "The partition's state is a postal code of the USA."
)
COUNTIES_ARE_VALID = _partition(
    "counties_are_valid",
    Severity.WARN,
    0.0,
    "No larger share of the metadata's weight is in no county, or in a county or PUMA whose "
    "GISJOIN is not of the partition's state.",
)
BUILDINGS_HAVE_WEIGHT = _partition(
    "buildings_have_weight",
    Severity.WARN,
    0.0,
    "No larger share of the metadata's buildings has a weight of zero in a geography.",
)
EXPECTED_BUILDINGS_ARE_PRESENT = _partition(
    "expected_buildings_are_present",
    Severity.WARN,
    0.0,
    "No larger share of the buildings that other upgrades have is missing.",
)
SERIES_AND_METADATA_AGREE = _partition(
    "series_and_metadata_agree",
    Severity.WARN,
    0.0,
    "No larger share of the buildings is in the series alone, or in the metadata alone.",
)
MEDIAN_INTENSITY_IS_OF_ITS_SORT = _partition(
    "median_intensity_is_of_its_sort",
    Severity.WARN,
    3.0,
    "The median site energy per floor area of 30 buildings or more is that of the product, within "
    "that factor: a whole partition in kW would be 4 times or a quarter of it.",
)
RELEASE_IS_WITHOUT_ERRATA = _partition(
    "release_is_without_errata", Severity.WARN, None, "Its publisher knows of no fault in it."
)

RULES: tuple[QualityRule, ...] = (
    *_PROOFS,
    HOURS_SUM_TO_INTERVALS,
    VALUES_ARE_POSSIBLE,
    ENERGY_IS_NOT_NEGATIVE,
    ENERGY_IS_NO_POWER,
    END_USES_SUM_TO_FUEL_TOTALS,
    FUEL_TOTALS_SUM_TO_SITE_ENERGY,
    NET_IS_TOTAL_AND_GENERATION,
    ENERGY_IS_INTENSITY_TIMES_AREA,
    VALUES_ARE_PLAUSIBLE,
    INTENSITY_IS_PLAUSIBLE,
    VALUES_ARE_COMPLETE,
    *PUBLISHED_RULES,
    ENOUGH_FILES_PASS,
    ROWS_ARE_AS_MANY_AS_PROVED,
    STATE_IS_KNOWN,
    COUNTIES_ARE_VALID,
    BUILDINGS_HAVE_WEIGHT,
    EXPECTED_BUILDINGS_ARE_PRESENT,
    SERIES_AND_METADATA_AGREE,
    MEDIAN_INTENSITY_IS_OF_ITS_SORT,
    RELEASE_IS_WITHOUT_ERRATA,
)
"""All of them, in the order in which they are judged: the first that blocks names the reason."""

_KEYS = ("severity", "elsewhere", "threshold")

RULE_OF: Mapping[str, QualityRule] = MappingProxyType({rule.name: rule for rule in RULES})
RULE_OF_REASON: Mapping[Reason, QualityRule] = MappingProxyType(
    {reason: rule for rule in RULES for reason in rule.reasons}
)
"""The proof that a file with this reason did not pass."""


@dataclass(frozen=True)
class RuleBook:
    """The rules as one run takes them: the defaults, and what its config says otherwise.

    `release`: whose files are judged; take it `of` one before anything is. None: of a release on
    which every rule is verified.
    """

    changed: Mapping[str, Limit] = field(default_factory=dict)
    release: str | None = None

    def of(self, release: str) -> RuleBook:
        """The same rules as they are taken of one release."""
        return replace(self, release=release)

    def severity(self, rule: QualityRule) -> Severity:
        """What becomes of whatever breaks the rule."""
        limit = self._limit(rule)
        return limit.severity if rule.is_verified_on(self.release) else limit.elsewhere

    def threshold(self, rule: QualityRule) -> float:
        """Where the rule stops holding; 0 for a rule that has no threshold."""
        return self._limit(rule).threshold or 0.0

    def is_on(self, rule: QualityRule) -> bool:
        """Whether the rule is judged at all."""
        return self.severity(rule) is not Severity.OFF

    def is_eased(self, rule: QualityRule) -> bool:
        """Whether the rule blocks, and does not of this release, on which it is not verified."""
        return self._limit(rule).severity is Severity.BLOCK is not self.severity(rule)

    def as_json(self) -> dict[str, dict[str, object]]:
        """Every rule with its severity and threshold: what of it changes results."""
        return {rule.name: dict(self._say(rule)) for rule in RULES}

    def _say(self, rule: QualityRule) -> Iterator[tuple[str, object]]:
        limit = self._limit(rule)
        yield "severity", limit.severity.value
        if rule.verified_on is not None and limit.elsewhere is not limit.severity:
            yield "elsewhere", limit.elsewhere.value
            yield "verified_on", sorted(rule.verified_on)
        yield "threshold", None if rule.threshold is None else self.threshold(rule)

    def _limit(self, rule: QualityRule) -> Limit:
        default = Limit(rule.severity, rule.elsewhere, rule.threshold)
        return self.changed.get(rule.name, default)


def build_rule_book(changes: Mapping[str, Mapping[str, object]]) -> RuleBook:
    """The defaults with these changes: per rule `severity`, `elsewhere`, `threshold`, or several.

    A severity is meant of every release, unless `elsewhere` stands beside it.

    Raises:
        ValueError: A rule that nobody knows, a severity or threshold that it cannot have; all
            faults at once, a line each.
    """
    faults = [fault for name, given in changes.items() for fault in _find_faults(name, given)]
    if faults:
        raise ValueError("; ".join(faults))
    return RuleBook({name: _read_limit(RULE_OF[name], given) for name, given in changes.items()})


def _read_limit(rule: QualityRule, given: Mapping[str, object]) -> Limit:
    severity = Severity(str(given.get("severity", rule.severity)))
    default = severity if "severity" in given else rule.elsewhere
    threshold = given.get("threshold")
    return Limit(
        severity,
        Severity(str(given.get("elsewhere", default))),
        rule.threshold if threshold is None else float(str(threshold)),
    )


def _find_faults(name: str, given: Mapping[str, object]) -> Iterator[str]:
    rule = RULE_OF.get(name)
    if rule is None:
        close = difflib.get_close_matches(name, RULE_OF, n=1)
        way_out = f"did you mean {close[0]}?" if close else f"known are {', '.join(RULE_OF)}"
        yield f"{name[:80]!r} is no rule; {way_out}"
        return
    unknown = sorted(set(given) - set(_KEYS))
    if unknown:
        yield f"{name}.{unknown[0][:80]}: unknown key; known are {', '.join(_KEYS)}"
    for key in ("severity", "elsewhere"):
        if key in given and given[key] not in tuple(Severity):
            yield f"{name}.{key}: {given[key]!r} is none of {', '.join(Severity)}"
    if rule.is_fixed and given.get("severity", Severity.BLOCK) != Severity.BLOCK:
        yield f"{name}.severity: always block, for without it the hours mean nothing"
    if rule.verified_on is None and "elsewhere" in given:
        yield f"{name}.elsewhere: the rule asks the same of every release; remove it"
    threshold = given.get("threshold")
    if threshold is None:
        return
    if rule.threshold is None:
        yield f"{name}.threshold: the rule has none; remove it"
    elif isinstance(threshold, bool) or not isinstance(threshold, int | float):
        yield f"{name}.threshold: {threshold!r} is no number"
    elif not 0 <= threshold < float("inf"):
        yield f"{name}.threshold: {threshold!r} is not between 0 and infinity"

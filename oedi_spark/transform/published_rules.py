"""The rules that hold a building's years against what the publisher says of it.

Each is asked only of buildings of which the metadata has results; `reconcile.py` judges them.
"""

from __future__ import annotations

from oedi_spark.transform.rule_kinds import QualityRule, Scope, Severity


def _rule(
    name: str,
    severity: Severity,
    threshold: float | None,
    sentence: str,
    verified_on: frozenset[str] | None = None,
) -> QualityRule:
    return QualityRule(name, Scope.FILE, severity, threshold, sentence, verified_on=verified_on)


FLOOR_AREA_IS_AS_PUBLISHED = _rule(
    "floor_area_is_as_published",
    Severity.WARN,
    0.001,
    "The floor area that energies and intensities have between them is the published one, within "
    "that share.",
)
PUBLISHED_SCALE_IS_ONE = _rule(
    "published_scale_is_one",
    Severity.BLOCK,
    0.02,
    "No energy of a year is 4, 3.41 or 11.6 times the published one, or that part of it, within "
    "that share: so look kW read as kWh, and kBtu read as kWh or converted the wrong way.",
)
SUMS_AGREE_WITH_PUBLISHED = _rule(
    "sums_agree_with_published",
    Severity.BLOCK,
    0.001,
    "The hours of every energy add up to its published annual result, within that share and what "
    "was rounded away on either side.",
    frozenset({"2024_comstock_amy2018_release_1"}),
)
OTHER_RESULTS_AGREE_WITH_PUBLISHED = _rule(
    "other_results_agree_with_published",
    Severity.WARN,
    0.01,
    "The hours of emissions, loads and volumes add up to their published annual results, within "
    "that share.",
)
INTENSITY_FITS_BUILDING_TYPE = _rule(
    "intensity_fits_building_type",
    Severity.WARN,
    1.0,
    "The site energy of a year per published floor area is one that a building of its type can "
    "have, the range widened by that factor.",
)
KNOWN_ERRATUM = _rule(
    "known_erratum",
    Severity.WARN,
    None,
    "Nothing of the building is wrong that its publisher knows to be wrong.",
)

PUBLISHED_RULES = (
    FLOOR_AREA_IS_AS_PUBLISHED,
    PUBLISHED_SCALE_IS_ONE,
    SUMS_AGREE_WITH_PUBLISHED,
    OTHER_RESULTS_AGREE_WITH_PUBLISHED,
    INTENSITY_FITS_BUILDING_TYPE,
    KNOWN_ERRATUM,
)
"""In the order in which they are judged."""

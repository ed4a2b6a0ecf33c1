"""States as the three sorts of names give them: FIPS code, postal code, full name.

Folders say `state=AK`, county codes (GISJOIN) begin with the FIPS code, and metadata columns
have any of the three.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_GISJOIN = re.compile(r"G(?P<fips>[0-9]{2})[0-9]{5,}")

_STATES = (
    ("01", "AL", "Alabama"),
    ("02", "AK", "Alaska"),
    ("04", "AZ", "Arizona"),
    ("05", "AR", "Arkansas"),
    ("06", "CA", "California"),
    ("08", "CO", "Colorado"),
    ("09", "CT", "Connecticut"),
    ("10", "DE", "Delaware"),
    ("11", "DC", "District of Columbia"),
    ("12", "FL", "Florida"),
    ("13", "GA", "Georgia"),
    ("15", "HI", "Hawaii"),
    ("16", "ID", "Idaho"),
    ("17", "IL", "Illinois"),
    ("18", "IN", "Indiana"),
    ("19", "IA", "Iowa"),
    ("20", "KS", "Kansas"),
    ("21", "KY", "Kentucky"),
    ("22", "LA", "Louisiana"),
    ("23", "ME", "Maine"),
    ("24", "MD", "Maryland"),
    ("25", "MA", "Massachusetts"),
    ("26", "MI", "Michigan"),
    ("27", "MN", "Minnesota"),
    ("28", "MS", "Mississippi"),
    ("29", "MO", "Missouri"),
    ("30", "MT", "Montana"),
    ("31", "NE", "Nebraska"),
    ("32", "NV", "Nevada"),
    ("33", "NH", "New Hampshire"),
    ("34", "NJ", "New Jersey"),
    ("35", "NM", "New Mexico"),
    ("36", "NY", "New York"),
    ("37", "NC", "North Carolina"),
    ("38", "ND", "North Dakota"),
    ("39", "OH", "Ohio"),
    ("40", "OK", "Oklahoma"),
    ("41", "OR", "Oregon"),
    ("42", "PA", "Pennsylvania"),
    ("44", "RI", "Rhode Island"),
    ("45", "SC", "South Carolina"),
    ("46", "SD", "South Dakota"),
    ("47", "TN", "Tennessee"),
    ("48", "TX", "Texas"),
    ("49", "UT", "Utah"),
    ("50", "VT", "Vermont"),
    ("51", "VA", "Virginia"),
    ("53", "WA", "Washington"),
    ("54", "WV", "West Virginia"),
    ("55", "WI", "Wisconsin"),
    ("56", "WY", "Wyoming"),
    ("72", "PR", "Puerto Rico"),
)
"""FIPS code (INCITS 38; 03, 07, 14, 43 and 52 were never given to a state), code, name."""

STATE_OF_FIPS: Mapping[str, str] = MappingProxyType({fips: state for fips, state, _ in _STATES})
"""`02` → `AK`: the fifty states, the District of Columbia and Puerto Rico."""

STATE_NAMES: Mapping[str, str] = MappingProxyType({state: name for _, state, name in _STATES})
"""`AK` → `Alaska`."""

_FIPS_OF_STATE = MappingProxyType({state: fips for fips, state, _ in _STATES})


def fips_of(state: str) -> str | None:
    """`02` of `AK`; None for what is no state's postal code."""
    return _FIPS_OF_STATE.get(state)


def state_of_fips(code: str) -> str | None:
    """`AK` of `02`; None for any other text, `2` without its zero included."""
    return STATE_OF_FIPS.get(code)


def state_of_gisjoin(gisjoin: str) -> str | None:
    """`CO` of `G0800590`: the state of a county, PUMA or tract.

    A county's GISJOIN is G, the state's FIPS code, 0, the county's code, 0; a PUMA's and a
    tract's begin with the state's as well. None for what is no GISJOIN (`Not Applicable`) or
    of no state.
    """
    match = _GISJOIN.fullmatch(gisjoin)
    return STATE_OF_FIPS.get(match["fips"]) if match else None

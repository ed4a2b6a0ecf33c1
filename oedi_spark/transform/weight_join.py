"""Join series to their weights, and stop a join that would miscount.

In   series, one row per building or one per hour, and `building_weights`.
Out  each row once per geography of its own building.

From ComStock 2024 release 2 on the same id lies under several states, with other weights in each
upgrade's metadata (domain sheet §0.3, §0.4): a join that forgets one of the keys returns plausible
rows and wrong sums. Here it raises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oedi_spark.contracts import Partition
from oedi_spark.contracts_metadata import GeographyKind
from oedi_spark.errors import FanOutError
from oedi_spark.transform.metadata import MetadataRows
from oedi_spark.transform.weights import BUILDING_KEYS, RELATIVE, rows_of_kind


def require_sound_join(
    series: NDArray[np.int64],
    rows: Sequence[MetadataRows],
    weights: pa.Table,
    *,
    is_whole_state: bool,
) -> None:
    """Join the series of one partition to each kind of its weights, as a query will.

    What comes out must be what the metadata itself says of these buildings: one row per
    building and geography, and the weight of all their rows. A building without weight is no
    fault of the join; the plan names it.

    Raises:
        FanOutError: Rows or weight are lost or multiplied.
    """
    for kind in GeographyKind:
        of_kind = [rows_of_kind(each, kind, is_whole_state=is_whole_state) for each in rows]
        known = pa.concat_tables(of_kind)
        known = known.filter(pc.is_in(known["bldg_id"], pa.array(series)))
        if not known.num_rows:
            continue
        expected = known.group_by(["bldg_id", "place"]).aggregate([]).num_rows
        before = math.fsum(known["weight"].to_pylist())
        joined = join_weights(_buildings(rows[0].partition, known["bldg_id"]), weights, kind=kind)
        after = math.fsum(joined["weight"].to_pylist())
        if joined.num_rows != expected or not math.isclose(before, after, rel_tol=RELATIVE):
            raise FanOutError(
                f"series to weights by {kind}",
                on=BUILDING_KEYS,
                rows=(expected, joined.num_rows),
                weight=(before, after),
            )


def _buildings(partition: Partition, bldg_ids: pa.ChunkedArray) -> pa.Table:
    ids = bldg_ids.unique()
    return pa.table(
        {
            "release": pa.repeat(partition.release, len(ids)),
            "state": pa.repeat(partition.state, len(ids)),
            "upgrade": pa.array(np.full(len(ids), partition.upgrade, np.int32)),
            "bldg_id": ids,
        }
    )


def join_weights(
    buildings: pa.Table,
    weights: pa.Table,
    *,
    kind: GeographyKind,
    on: Sequence[str] = BUILDING_KEYS,
) -> pa.Table:
    """Join series to the weights of one kind of geography.

    `buildings` has `BUILDING_KEYS` and any number of rows per building, hours for instance.
    Each comes back once per geography of its own building: that is meant to multiply rows
    where a building stands in several counties. Rows come in no particular order.

    Raises:
        FanOutError: On these keys a row would meet weights of another building, state,
            upgrade or release, or not all of its own; or a building has no weight at all.
    """
    of_kind = weights.filter(pc.equal(weights["geography_kind"], kind.value))
    _require_sole_meeting(buildings, of_kind, kind, tuple(on))
    taken = {*buildings.column_names, *BUILDING_KEYS}
    right = of_kind.select(
        [*on, *(name for name in of_kind.column_names if name not in {*taken, *on})]
    )
    left = _with_types(buildings, right, on)
    return left.join(right, keys=list(on), join_type="inner", use_threads=False)


def _require_sole_meeting(
    buildings: pa.Table, weights: pa.Table, kind: GeographyKind, on: tuple[str, ...]
) -> None:
    """Each building meets on `on` exactly the weights that are its own."""
    what = f"series to weights by {kind}"
    total = math.fsum(weights["weight"].to_pylist())
    lacking = [name for name in BUILDING_KEYS if name not in buildings.column_names]
    carried = [name for name in ("weight", "geography") if name in buildings.column_names]
    strange = [name for name in on if name not in BUILDING_KEYS]
    per_place = weights.group_by([*BUILDING_KEYS, "geography"]).aggregate([])
    if lacking or carried or strange or per_place.num_rows != weights.num_rows:
        raise FanOutError(
            f"{what}: {_explain(lacking, carried, strange)}",
            on=on,
            rows=(buildings.num_rows, weights.num_rows),
            weight=(total, total),
        )
    left = _with_types(buildings.select(list(BUILDING_KEYS)), weights, BUILDING_KEYS)
    distinct = left.group_by(list(BUILDING_KEYS)).aggregate([([], "count_all")])
    own, met = _meet(distinct, weights, BUILDING_KEYS), _meet(distinct, weights, on)
    hours = distinct["count_all"].to_numpy()
    own_rows, met_rows = own["rows"].to_numpy(), met["rows"].to_numpy()
    own_weight, met_weight = own["weight"].to_numpy(), met["weight"].to_numpy()
    is_sole = (own_rows == met_rows) & np.isclose(own_weight, met_weight, rtol=RELATIVE, atol=0)
    if not (is_sole & (own_rows > 0)).all():
        raise FanOutError(
            what,
            on=on,
            rows=(max(int(own_rows @ hours), buildings.num_rows), int(met_rows @ hours)),
            weight=(math.fsum(own_weight), math.fsum(met_weight)),
        )


def _explain(lacking: Sequence[str], carried: Sequence[str], strange: Sequence[str]) -> str:
    if lacking:
        return f"the series do not say their {', '.join(lacking)}"
    if carried:
        return f"the series already have {', '.join(carried)}"
    if strange:
        return f"{', '.join(strange)} is no key of a building"
    return "a building has two weights in one geography"


def _meet(distinct: pa.Table, weights: pa.Table, on: Sequence[str]) -> pa.Table:
    """For each building, in the order of `distinct`: rows and weight that it meets on `on`."""
    by_key = weights.group_by(list(on)).aggregate([([], "count_all"), ("weight", "sum")])
    by_key = by_key.rename_columns([*on, "rows", "weight"])
    keys = distinct.select(list(on)).append_column("at", pa.array(np.arange(distinct.num_rows)))
    found = keys.join(by_key, keys=list(on), join_type="left outer", use_threads=False)
    found = found.sort_by("at")
    return pa.table(
        {
            "rows": pc.fill_null(found["rows"], 0),
            "weight": pc.fill_null(found["weight"], 0.0),
        }
    )


def _with_types(table: pa.Table, other: pa.Table, names: Sequence[str]) -> pa.Table:
    """The named columns in the other table's types: `upgrade` may be 32 or 64 bits wide."""
    for name in names:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table[name].cast(other.schema.field(name).type))
    return table

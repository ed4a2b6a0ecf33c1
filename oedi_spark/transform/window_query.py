"""Quarter-hours to hours in Spark SQL: one query over proved files, written as it is staged.

The rows of a file name their building by `_metadata.file_name`. All quarter-hours of a batch meet
in one task, which adds them up by `F.window(start, "1 hour")`, sorts the hours and writes one
file with Iceberg field ids. A missing value is summed as NaN: so a sum that lacks one is NaN,
not smaller. An hour whose steps do not add up to 60 minutes has no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - as everyone who writes Spark knows it
from pyspark.sql import types as T  # noqa: N812

from oedi_spark.contracts import Partition
from oedi_spark.lake.staging import COMPRESSION_LEVEL, KEY_COLUMNS
from oedi_spark.transform.columns import TIMESTAMP, Rule
from oedi_spark.transform.window_proof import NOTHING, Layout, ProvedFile, SourceColumn

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",  # stamps are naive; no zone may shift them
    "spark.sql.caseSensitive": "true",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.parquet.fieldId.write.enabled": "true",
    "spark.sql.codegen.maxFields": "10000",  # with more fields Spark interprets, row by row
    "spark.sql.autoBroadcastJoinThreshold": "-1",  # but what is asked for is broadcast
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "64",
    "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}
_ROWS_PER_BUILDING = 8760
_LEAST_BLOCK_BYTES = 8 * 1024 * 1024
_MINUTES = 60


@dataclass(frozen=True)
class Wave:
    """What one query reads and writes: `batches` of one partition, each to become one file.

    `uris` says where Spark finds each file, `options` how it reaches them.
    """

    partition: Partition
    field_ids: Mapping[str, int]
    batches: tuple[tuple[ProvedFile, ...], ...]
    uris: Mapping[int, str]
    options: Mapping[str, str]
    row_group_buildings: int

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns of hours that are written: all that the release has, in order."""
        return tuple(name for name in self.field_ids if name not in KEY_COLUMNS)


def write_hours(spark: SparkSession, wave: Wave, folder_uri: str) -> None:
    """Roll a wave up into a folder that is not there yet: file `part-0000N` of batch N."""
    hours = _roll_up(_spread(spark, wave), wave)
    row_bytes = 8 * max(1, len(wave.measures))
    block_bytes = wave.row_group_buildings * _ROWS_PER_BUILDING * row_bytes
    (
        hours.write.options(**wave.options)
        .option("compression", "zstd")
        .option("parquet.compression.codec.zstd.level", str(COMPRESSION_LEVEL))
        .option("parquet.block.size", str(max(_LEAST_BLOCK_BYTES, block_bytes)))
        .parquet(folder_uri)
    )


def _spread(spark: SparkSession, wave: Wave) -> DataFrame:
    """Every interval of the wave, in one shape, those of a batch in one Spark partition."""
    keys = _keys_by_batch(spark, len(wave.batches))
    files = [(at, proved) for at, batch in enumerate(wave.batches) for proved in batch]
    groups: list[tuple[Layout, list[tuple[int, ProvedFile]]]] = []
    for at, proved in files:
        _group_of(groups, proved.layout).append((keys[at], proved))
    parts = [
        _read_group(spark, wave, _join_layouts(each.layout for _, each in group), group)
        for _, group in groups
    ]
    empty = [(keys[at], proved) for at, proved in files if proved.empty_hours_us]
    if empty:
        parts.append(_empty_hours(spark, wave, empty))
    whole = reduce(lambda left, right: left.unionByName(right), parts)
    return whole.repartition(len(wave.batches), "batch_key")


def _group_of(
    groups: list[tuple[Layout, list[tuple[int, ProvedFile]]]], layout: Layout
) -> list[tuple[int, ProvedFile]]:
    """The first group that a file can be read with: no column is spelled or typed otherwise."""
    for at, (known, files) in enumerate(groups):
        if known is layout or known == layout:
            return files
        joined = _join_layouts([known, layout])
        names = {each.name for each in joined.columns}
        sources = {each.source_name for each in joined.columns}
        if known.stamp == layout.stamp and len(joined.columns) == len(names) == len(sources):
            groups[at] = (joined, files)
            return files
    groups.append((layout, []))
    return groups[-1][1]


def _join_layouts(layouts: Iterable[Layout]) -> Layout:
    distinct = list(dict.fromkeys(layouts))
    return Layout(distinct[0].stamp, frozenset().union(*(each.columns for each in distinct)))


def _read_group(
    spark: SparkSession, wave: Wave, layout: Layout, files: Sequence[tuple[int, ProvedFile]]
) -> DataFrame:
    columns = {each.name: each for each in layout.columns if each.spark_type != NOTHING}
    stamp = {"ns": "bigint", "ntz": "timestamp_ntz", "ltz": "timestamp"}[layout.stamp]
    source = T.StructType([T.StructField(TIMESTAMP, _parse_type(stamp))])
    for each in columns.values():
        source.add(each.source_name, _parse_type(each.spark_type))
    start_us = {
        "ns": F.expr(f"{TIMESTAMP} div 1000"),
        "ntz": F.unix_micros(F.col(TIMESTAMP).cast("timestamp")),
        "ltz": F.unix_micros(F.col(TIMESTAMP)),
    }[layout.stamp]
    rows = (
        spark.read.schema(source)
        .options(**wave.options)
        .option("__globPaths__", "false")
        .parquet(*(wave.uris[each.file.ordinal] for _, each in files))
        .select(
            F.col("_metadata.file_name").alias("file_name"),
            start_us.alias("stamp_us"),
            *(_value(columns.get(name)).alias(name) for name in wave.measures),
        )
    )
    start = F.timestamp_micros(F.col("stamp_us") - F.col("shift_us")).cast("timestamp_ntz")
    joined = rows.join(F.broadcast(_buildings(spark, wave, files)), "file_name").withColumn(
        "start", start
    )
    return joined.select(
        "batch_key",
        "bldg_id",
        "start",
        "step_min",
        *(_share(F.col(name), columns.get(name)).alias(name) for name in wave.measures),
    )


def _buildings(
    spark: SparkSession, wave: Wave, files: Sequence[tuple[int, ProvedFile]]
) -> DataFrame:
    """What is known of each file, by its name."""
    known = [
        {
            "file_name": wave.uris[each.file.ordinal].rsplit("/", 1)[1],
            "batch_key": key,
            "bldg_id": each.file.bldg_id,
            "shift_us": each.shift_s * 1_000_000,
            "step_min": each.step_s // 60,
        }
        for key, each in files
    ]
    return spark.createDataFrame(
        known, "file_name string, batch_key int, bldg_id long, shift_us long, step_min int"
    )


def _value(column: SourceColumn | None) -> Column:
    """A source column in double precision."""
    if column is None:
        return F.lit(None).cast("double")
    quoted = column.source_name.replace("`", "``")
    return F.col(f"`{quoted}`").cast("double")


def _share(value: Column, column: SourceColumn | None) -> Column:
    """What an interval adds to the value of its hour."""
    if column is None or column.rule == Rule.SUM:
        return value
    if column.rule == Rule.MEAN:
        return value * (F.col("step_min") / F.lit(float(_MINUTES)))
    return F.when(F.minute("start") == 0, value).otherwise(0.0)


def _empty_hours(
    spark: SparkSession, wave: Wave, files: Sequence[tuple[int, ProvedFile]]
) -> DataFrame:
    """A row for each hour that a file has none of; its step of 0 minutes leaves the hour null."""
    known = [(key, each.file.bldg_id, list(each.empty_hours_us)) for key, each in files]
    frame = spark.createDataFrame(known, "batch_key int, bldg_id long, hours array<long>")
    hours = frame.select("batch_key", "bldg_id", F.explode("hours").alias("start_us"))
    return hours.select(
        "batch_key",
        "bldg_id",
        F.timestamp_micros("start_us").cast("timestamp_ntz").alias("start"),
        F.lit(0).alias("step_min"),
        *(_value(None).alias(name) for name in wave.measures),
    )


def _roll_up(intervals: DataFrame, wave: Wave) -> DataFrame:
    """Hours in the shape of the table, sorted as it is."""
    nan = F.lit(float("nan"))
    sums = [F.sum(F.coalesce(F.col(name), nan)).alias(name) for name in wave.measures]
    hours = intervals.groupBy(
        "batch_key", "bldg_id", F.window("start", "1 hour").alias("hour")
    ).agg(F.sum("step_min").alias("minutes"), *sums)
    is_whole = F.col("minutes") == _MINUTES
    keys = {
        "release": F.lit(wave.partition.release),
        "state": F.lit(wave.partition.state),
        "upgrade": F.lit(wave.partition.upgrade).cast("int"),
        "bldg_id": F.col("bldg_id"),
        "hour_start": F.col("hour.start"),
    }
    values = {
        name: F.when(is_whole & ~F.isnan(name) & (F.abs(name) != float("inf")), F.col(name))
        for name in wave.measures
    }
    columns = [
        value.alias(name, metadata={"parquet.field.id": wave.field_ids[name]})
        for name, value in (keys | values).items()
    ]
    return hours.select(*columns).sortWithinPartitions("bldg_id", "hour_start")


def _keys_by_batch(spark: SparkSession, count: int) -> list[int]:
    """For each batch a key that Spark's own hash puts into the partition of that number."""
    if count == 1:
        return [0]
    place = F.expr(f"pmod(hash(cast(id as int)), {count})")
    found = spark.range(count * 64).groupBy(place.alias("place")).agg(F.min("id").alias("key"))
    keys = {row["place"]: row["key"] for row in found.collect()}
    return [keys[at] for at in range(count)]


def _parse_type(name: str) -> T.DataType:
    simple: dict[str, T.DataType] = {
        "bigint": T.LongType(),
        "int": T.IntegerType(),
        "smallint": T.ShortType(),
        "tinyint": T.ByteType(),
        "double": T.DoubleType(),
        "float": T.FloatType(),
        "timestamp": T.TimestampType(),
        "timestamp_ntz": T.TimestampNTZType(),
    }
    if name in simple:
        return simple[name]
    precision, scale = name.removeprefix("decimal(").rstrip(")").split(",")
    return T.DecimalType(int(precision), int(scale))

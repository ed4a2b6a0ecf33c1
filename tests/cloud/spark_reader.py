"""Read tables through Spark's own Iceberg catalog; each becomes a folder of parquet files.

A process of its own, because a running Spark takes no more jars.
"""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession


def main(request: dict[str, object]) -> None:
    """Read `tables` of `database` and write them below `folder`."""
    builder = SparkSession.builder.master("local[2]").appName("oedi-spark-reader")
    settings = request["settings"]
    assert isinstance(settings, dict)
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    tables = request["tables"]
    assert isinstance(tables, list)
    for name in tables:
        rows = spark.table(f"{request['database']}.{name}")
        rows.coalesce(1).write.parquet(f"{request['folder']}/{name}")
    spark.stop()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

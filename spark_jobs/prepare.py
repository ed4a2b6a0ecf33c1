"""Start Spark once and end, so that the JVM can keep what it loaded (`class_archive`)."""

from __future__ import annotations

from oedi_spark.session import start_in_background

if __name__ == "__main__":
    start_in_background().result(timeout=300).stop()

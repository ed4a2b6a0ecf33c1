"""The main job: `spark-submit spark_jobs/etl.py --config conf/local.yaml`, here or on Glue."""

from __future__ import annotations

import sys

from oedi_spark.session import start_in_background

if __name__ == "__main__":
    spark = start_in_background()
    from oedi_spark.cli import run_job  # half a second of imports, while Spark starts

    code = run_job(sys.argv[1:], spark)
    if code:  # a complete run just ends: who runs a script may take any SystemExit for a failure
        sys.exit(code)

"""The main job: `spark-submit spark_jobs/etl.py --config conf/local.yaml`."""

from __future__ import annotations

import sys

from oedi_spark.session import start_in_background

if __name__ == "__main__":
    spark = start_in_background()
    from oedi_spark.cli import run_job  # half a second of imports, while Spark starts

    sys.exit(run_job(sys.argv[1:], spark))

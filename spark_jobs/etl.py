"""The main job: `spark-submit spark_jobs/etl.py --config conf/local.yaml`."""

from __future__ import annotations

import sys

from oedi_spark.cli import run_job

if __name__ == "__main__":
    sys.exit(run_job(sys.argv[1:]))

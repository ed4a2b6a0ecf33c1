"""The maintenance job: `python spark_jobs/maintain.py --config conf/local.yaml`, here or on Glue.

It needs no Spark, and starts none.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from oedi_spark.cli import run_maintenance

    code = run_maintenance(sys.argv[1:])
    if code:  # done just ends: who runs a script may take any SystemExit for a failure
        sys.exit(code)

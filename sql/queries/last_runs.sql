-- How did the last 20 runs end?
--
-- Scans: runs, 16 of its columns: one row per run, under Athena's 10 MB minimum
-- Note: failed runs are there, too. Times are UTC. Exit codes: docs/running.md.
SELECT r.started_at_utc,
  r.run_id,
  r.outcome,
  r.exit_code,
  r.error,
  r.total_s,
  r.partition_count,
  r.files_listed,
  r.files_uploaded,
  r.files_lost,
  r.hours_published,
  r.metadata_rows_published,
  r.discrepancy_count,
  r.cost_estimate_usd,
  r.code_version,
  r.workflow_run_id
FROM runs r
ORDER BY r.started_at_utc DESC, r.run_id
LIMIT 20

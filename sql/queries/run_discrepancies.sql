-- What went wrong in the last run?
--
-- Scans: discrepancies and two columns of runs: one row per finding, under Athena's 10 MB minimum
-- Note: for an earlier run, put its run_id (see last_runs) in the place of the subquery.
-- Note: reason codes: docs/tables.md.
SELECT d.run_id,
  d.stage,
  d.reason,
  d.release,
  d.state,
  d.upgrade,
  d.key,
  d.detail,
  d.first_seen_utc,
  d.last_seen_utc
FROM discrepancies d
WHERE d.run_id = (
  SELECT MAX_BY(r.run_id, r.started_at_utc)
  FROM runs r
)
ORDER BY d.stage, d.reason, d.release, d.state, d.upgrade, d.key

-- What has gone wrong so far and was not seen mended: the latest findings of each thing
--
-- Scans: discrepancies and three columns of runs: one row per finding, under Athena's 10 MB minimum
-- Note: a thing is a key in a partition: a file, a column, a county, or the partition itself.
-- Note: publishing_runs_since counts the runs that published after the finding. 0 is surely open; where
-- Note: it is more, one of them may have read the partition and found nothing: SQL cannot read that from
-- Note: a config, `oedi-spark discrepancies --open` does.
WITH ranked AS (
  SELECT d.release,
    d.state,
    d.upgrade,
    d.key,
    d.stage,
    d.reason,
    d.detail,
    d.run_id,
    d.first_seen_utc,
    d.last_seen_utc,
    -- The findings that one run has of a thing share its time, and so their rank.
    RANK() OVER (
      PARTITION BY d.release, d.state, d.upgrade, d.key
      ORDER BY d.last_seen_utc DESC, d.run_id DESC
    ) AS recency
  FROM discrepancies d
)
SELECT l.release,
  l.state,
  l.upgrade,
  l.key,
  l.stage,
  l.reason,
  l.detail,
  l.first_seen_utc,
  l.last_seen_utc,
  l.run_id AS last_run_id,
  COUNT(r.run_id) AS publishing_runs_since
FROM ranked l
LEFT JOIN runs r
  ON r.started_at_utc > l.last_seen_utc
  AND r.hours_published > 0
WHERE l.recency = 1
GROUP BY l.release, l.state, l.upgrade, l.key, l.stage, l.reason, l.detail,
  l.first_seen_utc, l.last_seen_utc, l.run_id
ORDER BY publishing_runs_since, l.last_seen_utc DESC, l.key, l.reason

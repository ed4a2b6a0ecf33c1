-- What do the columns of a partition mean: unit, roll-up, and name in the source files?
--
-- Scans: columns, the chosen release, state and upgrade: a few hundred rows, under Athena's 10 MB minimum
-- Note: one row per spelling in the source files. rule says how quarter-hours became an hour.
SELECT COALESCE(c.table_name, 'hourly') AS table_name,
  c.column_name,
  c.unit,
  c.rule,
  c.source_name,
  c.source_type,
  c.is_known = 1 AS is_known,
  c.building_count
FROM columns c
WHERE c.release = '2024_comstock_amy2018_release_1' -- choose release
  AND c.state = 'CO' -- choose state
  AND c.upgrade = 0 -- choose upgrade
ORDER BY table_name, c.column_name, c.source_name

-- The partitions that can be chosen: one row per release, state and upgrade
--
-- Scans: building_weights of kind state, metadata: its partition columns, applicability and in_upgrade_name
-- Note: the dimension of a Power BI model: scenario_key stands in the other views, too.
-- Note: a partition that was loaded without weights by state is not here, as it counts in no total.
-- Note: applicable_model_count is of upgrades; in a baseline it says nothing.
-- Note: upgrade_name is in_upgrade_name as published. In ComStock 2025 R2 (both weather years) it is
-- Note: wrong for two upgrades: the names of packages 55 and 58 are swapped in the files.
-- Note: cannot be made, and fails, while no loaded metadata has applicability and in_upgrade_name.
CREATE OR REPLACE VIEW scenarios AS
WITH names AS (
  SELECT m.release, m.state, m.upgrade,
    MAX(m.in_upgrade_name) AS upgrade_name,
    COUNT(DISTINCT CASE WHEN m.applicability THEN m.bldg_id END) AS applicable_model_count
  FROM metadata m
  GROUP BY m.release, m.state, m.upgrade
),
weights AS (
  SELECT w.release, w.state, w.upgrade,
    COUNT(*) AS model_count,
    SUM(w.weight) AS represented_count,
    SUM(w.floor_area_ft2 * w.weight) AS floor_area_ft2
  FROM building_weights w
  WHERE w.geography_kind = 'state'
  GROUP BY w.release, w.state, w.upgrade
)
SELECT CONCAT(w.release, '/', w.state, '/', CAST(w.upgrade AS varchar)) AS scenario_key,
  w.release,
  w.state,
  w.upgrade,
  COALESCE(n.upgrade_name, CASE WHEN w.upgrade = 0 THEN 'Baseline' END) AS upgrade_name,
  CASE WHEN w.release LIKE '%comstock%' THEN 'ComStock' ELSE 'ResStock' END AS product,
  w.model_count,
  n.applicable_model_count,
  w.represented_count,
  w.floor_area_ft2
FROM weights w
LEFT JOIN names n
  ON n.release = w.release
  AND n.state = w.state
  AND n.upgrade = w.upgrade

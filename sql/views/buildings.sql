-- The building models of a state: type, floor area, vintage, and how many real buildings each stands for
--
-- Scans: building_weights of kinds state and county; metadata: bldg_id, applicability. No hours
-- Note: one row per release, state, upgrade and bldg_id; filter on the first three.
-- Note: county_gisjoin is null where the model counts in several counties (ComStock from 2024 R2 on);
-- Note: totals by county come from monthly_load_by_county, never from this column.
-- Note: cannot be made, and fails, while no loaded metadata has applicability; is_applicable is null
-- Note: where the partition's metadata has not.
CREATE OR REPLACE VIEW buildings AS
WITH places AS (
  SELECT w.release, w.state, w.upgrade, w.bldg_id,
    COUNT(*) AS county_count,
    MAX(w.geography) AS county_gisjoin
  FROM building_weights w
  WHERE w.geography_kind = 'county'
  GROUP BY w.release, w.state, w.upgrade, w.bldg_id
),
facts AS (
  SELECT m.release, m.state, m.upgrade, m.bldg_id,
    BOOL_OR(m.applicability) AS is_applicable
  FROM metadata m
  GROUP BY m.release, m.state, m.upgrade, m.bldg_id
)
SELECT
  CONCAT(w.release, '/', w.state, '/', CAST(w.upgrade AS varchar), '/', CAST(w.bldg_id AS varchar))
    AS building_key,
  CONCAT(w.release, '/', w.state, '/', CAST(w.upgrade AS varchar)) AS scenario_key,
  w.release,
  w.state,
  w.upgrade,
  w.bldg_id,
  COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
  w.building_type_group,
  w.vintage,
  w.floor_area_ft2,
  w.weight,
  f.is_applicable,
  COALESCE(p.county_count, 0) AS county_count,
  CASE WHEN p.county_count = 1 THEN p.county_gisjoin END AS county_gisjoin
FROM building_weights w
LEFT JOIN places p
  ON p.release = w.release
  AND p.state = w.state
  AND p.upgrade = w.upgrade
  AND p.bldg_id = w.bldg_id
LEFT JOIN facts f
  ON f.release = w.release
  AND f.state = w.state
  AND f.upgrade = w.upgrade
  AND f.bldg_id = w.bldg_id
WHERE w.geography_kind = 'state'

-- How much energy does each building type of a state use in a year, and how much per square foot?
--
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 3 measures: 126 kB a building in ComStock, 79 in ResStock
-- Note: model_count is simulated models, represented_count the real buildings (ResStock: dwellings)
-- Note: they stand for. kwh_per_ft2 leaves out buildings whose floor area is not known.
-- Note: missing_hours counts hours of a model without electricity or site energy; the sums lack them.
WITH annual AS (
  SELECT h.release, h.state, h.upgrade, h.bldg_id,
    COALESCE(SUM(h.out_electricity_total_energy_consumption_kwh), 0) AS electricity_kwh,
    COALESCE(SUM(h.out_natural_gas_total_energy_consumption_kwh), 0) AS natural_gas_kwh,
    COALESCE(SUM(h.out_site_energy_total_energy_consumption_kwh), 0) AS site_energy_kwh,
    COUNT(*) - COUNT(
      h.out_electricity_total_energy_consumption_kwh
      + h.out_site_energy_total_energy_consumption_kwh
    ) AS missing_hours
  FROM hourly h
  WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release
    AND h.state = 'CO' -- choose state
    AND h.upgrade = 0 -- choose upgrade
  GROUP BY h.release, h.state, h.upgrade, h.bldg_id
)
SELECT COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
  COUNT(*) AS model_count,
  SUM(w.weight) AS represented_count,
  SUM(w.floor_area_ft2 * w.weight) AS floor_area_ft2,
  SUM(a.electricity_kwh * w.weight) AS electricity_kwh,
  SUM(a.natural_gas_kwh * w.weight) AS natural_gas_kwh,
  SUM(a.site_energy_kwh * w.weight) AS site_energy_kwh,
  SUM(CASE WHEN w.floor_area_ft2 > 0 THEN a.site_energy_kwh * w.weight END)
    / NULLIF(SUM(w.floor_area_ft2 * w.weight), 0) AS site_energy_kwh_per_ft2,
  SUM(a.missing_hours) AS missing_hours
FROM annual a
JOIN building_weights w
  ON w.release = a.release
  AND w.state = a.state
  AND w.upgrade = a.upgrade
  AND w.bldg_id = a.bldg_id
  AND w.geography_kind = 'state'
GROUP BY COALESCE(w.building_type, w.building_type_group, 'unknown')
ORDER BY site_energy_kwh DESC

-- How much energy do the buildings of each county use in a year, by building type?
--
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 3 measures: 126 kB a building in ComStock, 79 in ResStock
-- Note: the year is summed per building before the counties' weights come in: from ComStock 2024 R2
-- Note: on a building counts in several counties, and in each with another weight.
-- Note: counties are 2010 GISJOINs (G0800310 is FIPS 08031). Rows of a handful of models say little.
-- Note: missing_hours counts hours of a model without electricity or site energy; the sums lack them.
-- Note: empty if the partition was loaded without weights by county (docs/tables.md).
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
SELECT w.geography AS county_gisjoin,
  COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
  COUNT(*) AS model_count,
  SUM(w.weight) AS represented_count,
  SUM(w.floor_area_ft2 * w.weight) AS floor_area_ft2,
  SUM(a.electricity_kwh * w.weight) AS electricity_kwh,
  SUM(a.natural_gas_kwh * w.weight) AS natural_gas_kwh,
  SUM(a.site_energy_kwh * w.weight) AS site_energy_kwh,
  SUM(a.missing_hours) AS missing_hours
FROM annual a
JOIN building_weights w
  ON w.release = a.release
  AND w.state = a.state
  AND w.upgrade = a.upgrade
  AND w.bldg_id = a.bldg_id
  AND w.geography_kind = 'county'
GROUP BY w.geography, COALESCE(w.building_type, w.building_type_group, 'unknown')
ORDER BY county_gisjoin, building_type

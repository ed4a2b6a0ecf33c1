-- The load of a state by building type and day, weighted
--
-- Scans: hourly, the partitions that the reader filters on
-- Scans: 3 measures: 126 kB a building in ComStock, 79 in ResStock
-- Note: filter on release, state and upgrade, always; not on scenario_key, which prunes nothing.
-- Note: days are EST. peak_electricity_kwh is the highest hour of the type that day; peaks of several
-- Note: types fall into different hours and must not be added.
-- Note: missing_hours counts hours of a model without electricity or site energy; the sums lack them,
-- Note: and the peak of a day that has some may seem low.
CREATE OR REPLACE VIEW daily_load_by_type AS
WITH by_hour AS (
  SELECT h.release, h.state, h.upgrade,
    COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
    h.hour_start,
    COALESCE(SUM(h.out_electricity_total_energy_consumption_kwh * w.weight), 0) AS electricity_kwh,
    COALESCE(SUM(h.out_natural_gas_total_energy_consumption_kwh * w.weight), 0) AS natural_gas_kwh,
    COALESCE(SUM(h.out_site_energy_total_energy_consumption_kwh * w.weight), 0) AS site_energy_kwh,
    COUNT(*) - COUNT(
      h.out_electricity_total_energy_consumption_kwh
      + h.out_site_energy_total_energy_consumption_kwh
    ) AS missing_hours
  FROM hourly h
  JOIN building_weights w
    ON w.release = h.release
    AND w.state = h.state
    AND w.upgrade = h.upgrade
    AND w.bldg_id = h.bldg_id
    AND w.geography_kind = 'state'
  GROUP BY h.release, h.state, h.upgrade,
    COALESCE(w.building_type, w.building_type_group, 'unknown'),
    h.hour_start
)
SELECT CONCAT(b.release, '/', b.state, '/', CAST(b.upgrade AS varchar)) AS scenario_key,
  b.release,
  b.state,
  b.upgrade,
  b.building_type,
  CAST(b.hour_start AS date) AS day_est,
  SUM(b.electricity_kwh) AS electricity_kwh,
  SUM(b.natural_gas_kwh) AS natural_gas_kwh,
  SUM(b.site_energy_kwh) AS site_energy_kwh,
  MAX(b.electricity_kwh) AS peak_electricity_kwh,
  SUM(b.missing_hours) AS missing_hours
FROM by_hour b
GROUP BY b.release, b.state, b.upgrade, b.building_type, CAST(b.hour_start AS date)

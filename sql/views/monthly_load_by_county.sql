-- The load of a county by building type and month, weighted
--
-- Scans: hourly, the partitions that the reader filters on
-- Scans: 3 measures: 126 kB a building in ComStock, 79 in ResStock
-- Note: filter on release, state and upgrade, always; not on scenario_key, which prunes nothing.
-- Note: counties are 2010 GISJOINs. Do not add counties to states: both hold the same buildings.
-- Note: a month is summed per building before the weights come in, so that hours are not multiplied.
-- Note: months are EST. model_count counts models, represented_count the real buildings they stand for.
-- Note: missing_hours counts hours of a model without electricity or site energy; the sums lack them.
CREATE OR REPLACE VIEW monthly_load_by_county AS
WITH by_month AS (
  SELECT h.release, h.state, h.upgrade, h.bldg_id,
    CAST(date_trunc('month', h.hour_start) AS date) AS month_start_est,
    COALESCE(SUM(h.out_electricity_total_energy_consumption_kwh), 0) AS electricity_kwh,
    COALESCE(SUM(h.out_natural_gas_total_energy_consumption_kwh), 0) AS natural_gas_kwh,
    COALESCE(SUM(h.out_site_energy_total_energy_consumption_kwh), 0) AS site_energy_kwh,
    COUNT(*) - COUNT(
      h.out_electricity_total_energy_consumption_kwh
      + h.out_site_energy_total_energy_consumption_kwh
    ) AS missing_hours
  FROM hourly h
  GROUP BY h.release, h.state, h.upgrade, h.bldg_id,
    CAST(date_trunc('month', h.hour_start) AS date)
)
SELECT CONCAT(b.release, '/', b.state, '/', CAST(b.upgrade AS varchar)) AS scenario_key,
  b.release,
  b.state,
  b.upgrade,
  w.geography AS county_gisjoin,
  COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
  b.month_start_est,
  SUM(b.electricity_kwh * w.weight) AS electricity_kwh,
  SUM(b.natural_gas_kwh * w.weight) AS natural_gas_kwh,
  SUM(b.site_energy_kwh * w.weight) AS site_energy_kwh,
  COUNT(*) AS model_count,
  SUM(w.weight) AS represented_count,
  SUM(b.missing_hours) AS missing_hours
FROM by_month b
JOIN building_weights w
  ON w.release = b.release
  AND w.state = b.state
  AND w.upgrade = b.upgrade
  AND w.bldg_id = b.bldg_id
  AND w.geography_kind = 'county'
GROUP BY b.release, b.state, b.upgrade,
  w.geography,
  COALESCE(w.building_type, w.building_type_group, 'unknown'), b.month_start_est

-- The hours of single models, under short names, with the parts of their time
--
-- Scans: hourly, the partitions that the reader filters on
-- Scans: 3 measures: 126 kB a building in ComStock, 79 in ResStock
-- Note: filter on release, state and upgrade, always; not on scenario_key, which prunes nothing.
-- Note: one model, not weighted. Totals: daily_load_by_type, monthly_load_by_type, monthly_load_by_county.
-- Note: hour_start_est is the start of the hour in EST (UTC-5, no daylight saving) for every state.
-- Note: is_wrapped_day marks 1 January: west of EST its first hours are the end of 31 December.
CREATE OR REPLACE VIEW hourly_load AS
SELECT
  CONCAT(h.release, '/', h.state, '/', CAST(h.upgrade AS varchar), '/', CAST(h.bldg_id AS varchar))
    AS building_key,
  CONCAT(h.release, '/', h.state, '/', CAST(h.upgrade AS varchar)) AS scenario_key,
  h.release,
  h.state,
  h.upgrade,
  h.bldg_id,
  h.hour_start AS hour_start_est,
  CAST(h.hour_start AS date) AS day_est,
  month(h.hour_start) AS month_of_year,
  day_of_week(h.hour_start) AS day_of_week,
  day_of_week(h.hour_start) >= 6 AS is_weekend,
  hour(h.hour_start) AS hour_est,
  month(h.hour_start) = 1 AND day(h.hour_start) = 1 AS is_wrapped_day,
  h.out_electricity_total_energy_consumption_kwh AS electricity_kwh,
  h.out_natural_gas_total_energy_consumption_kwh AS natural_gas_kwh,
  h.out_site_energy_total_energy_consumption_kwh AS site_energy_kwh
FROM hourly h

-- What is the load of one county in every hour of the year?
--
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 3 measures: 126 kB a building of the state in ComStock, 79 in ResStock
-- Note: the county's state has to be the chosen one. Other buildings of the state may be read, too.
-- Note: hour_start_est is the start of the hour in EST, for every state.
-- Note: shapes of a handful of models say little: model_count tells.
-- Note: missing_hours counts the models whose electricity or site energy has no value in the hour; the
-- Note: sums are too low by theirs, and null if it is all of them. No gas is 0: no model may have it.
SELECT h.hour_start AS hour_start_est,
  SUM(h.out_electricity_total_energy_consumption_kwh * w.weight) AS electricity_kwh,
  COALESCE(SUM(h.out_natural_gas_total_energy_consumption_kwh * w.weight), 0) AS natural_gas_kwh,
  SUM(h.out_site_energy_total_energy_consumption_kwh * w.weight) AS site_energy_kwh,
  COUNT(*) AS model_count,
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
  AND w.geography_kind = 'county'
WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release
  AND h.state = 'CO' -- choose state
  AND h.upgrade = 0 -- choose upgrade
  AND w.geography = 'G0800310' -- choose county
GROUP BY h.hour_start
ORDER BY h.hour_start

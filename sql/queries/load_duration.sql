-- For how many hours of the year is a state's electricity above a given load?
--
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 1 measure: 56 kB a building in ComStock, 22 in ResStock
-- Note: one row per hour of the year, highest first. kWh in an hour is the average power in kW.
-- Note: percent_of_hours is the share of the year with at least this load; hours of equal load share it.
-- Note: missing_hours counts the models without a value in the hour, whose load is too low by theirs.
-- Note: an hour in which no model has a value is passed over: the year is then shorter.
WITH by_hour AS (
  SELECT h.hour_start,
    SUM(h.out_electricity_total_energy_consumption_kwh * w.weight) AS electricity_kwh,
    COUNT(*) - COUNT(h.out_electricity_total_energy_consumption_kwh) AS missing_hours
  FROM hourly h
  JOIN building_weights w
    ON w.release = h.release
    AND w.state = h.state
    AND w.upgrade = h.upgrade
    AND w.bldg_id = h.bldg_id
    AND w.geography_kind = 'state'
  WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release
    AND h.state = 'CO' -- choose state
    AND h.upgrade = 0 -- choose upgrade
  GROUP BY h.hour_start
),
ranked AS (
  SELECT b.hour_start,
    b.electricity_kwh,
    b.missing_hours,
    ROW_NUMBER() OVER (ORDER BY b.electricity_kwh DESC, b.hour_start) AS load_rank,
    -- RANGE, not ROWS: hours of the same load count, too.
    COUNT(*) OVER (
      ORDER BY b.electricity_kwh DESC
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS as_high_count,
    COUNT(*) OVER () AS hour_count,
    MAX(b.electricity_kwh) OVER () AS peak_kwh
  FROM by_hour b
  WHERE b.electricity_kwh IS NOT NULL
)
SELECT r.load_rank,
  r.hour_start AS hour_start_est,
  r.electricity_kwh,
  100e0 * r.as_high_count / r.hour_count AS percent_of_hours,
  100 * r.electricity_kwh / NULLIF(r.peak_kwh, 0) AS percent_of_peak,
  r.missing_hours
FROM ranked r
ORDER BY r.load_rank

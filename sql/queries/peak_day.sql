-- On which day and hour is a state's electricity at its highest, and which day has the lowest peak?
--
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 1 measure: 56 kB a building in ComStock, 22 in ResStock
-- Note: the peak day is the day that holds the highest single hour, not the one with most energy; the
-- Note: minimum-peak day is the one whose highest hour is the lowest. All hours of both are given.
-- Note: only a day whose 24 hours each have as many values as the fullest hour of the year can have the
-- Note: minimum peak, else the day with most values missing would; if there is none, it is not given.
-- Note: every day can have the peak. missing_hours counts the models without a value in the hour, whose
-- Note: load is too low by theirs; the true peak may lie in such an hour.
-- Note: the peak is that of the sum; peaks of single buildings do not add up to it.
-- Note: hours and days are EST. West of EST the first hours of 1 January belong to 31 December.
-- Note: TMY3 weather is not of one year in all places: its peak is of no real day.
WITH by_hour AS (
  SELECT h.hour_start,
    SUM(h.out_electricity_total_energy_consumption_kwh * w.weight) AS electricity_kwh,
    COUNT(h.out_electricity_total_energy_consumption_kwh) AS value_count,
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
rated AS (
  SELECT b.hour_start,
    b.electricity_kwh,
    b.missing_hours,
    CASE WHEN b.value_count = MAX(b.value_count) OVER () THEN 1 ELSE 0 END AS is_full
  FROM by_hour b
),
by_day AS (
  SELECT f.hour_start,
    f.electricity_kwh,
    f.missing_hours,
    MAX(f.electricity_kwh) OVER (PARTITION BY CAST(f.hour_start AS date)) AS day_peak_kwh,
    SUM(f.is_full) OVER (PARTITION BY CAST(f.hour_start AS date)) AS full_hours
  FROM rated f
),
extremes AS (
  SELECT d.hour_start,
    d.electricity_kwh,
    d.missing_hours,
    d.day_peak_kwh,
    d.full_hours,
    MAX(d.day_peak_kwh) OVER () AS highest_kwh,
    MIN(CASE WHEN d.full_hours = 24 THEN d.day_peak_kwh END) OVER () AS lowest_kwh
  FROM by_day d
)
SELECT CASE WHEN x.day_peak_kwh = x.highest_kwh THEN 'peak' ELSE 'minimum peak' END AS day_kind,
  CAST(x.hour_start AS date) AS day_est,
  hour(x.hour_start) AS hour_est,
  x.electricity_kwh,
  x.electricity_kwh = x.day_peak_kwh AS is_peak_hour,
  x.missing_hours
FROM extremes x
WHERE x.day_peak_kwh = x.highest_kwh
  OR (x.full_hours = 24 AND x.day_peak_kwh = x.lowest_kwh)
ORDER BY x.day_peak_kwh DESC, x.hour_start

-- What does the average weekday and weekend day of each month look like, hour by hour and building type?
--
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 1 measure: 56 kB a building in ComStock, 22 in ResStock
-- Note: hour_est is the start of the hour in EST, for every state: 17 is 15:00 standard time in Denver.
-- Note: 1 January is left out. West of EST its first hours are the end of 31 December, wrapped round;
-- Note: and it is a holiday.
-- Note: weekdays are those of the calendar in the stamps; TMY3 files have one of the publisher's choice.
-- Note: kWh in an hour is the average power in kW.
-- Note: missing_hours counts hours of a model without a value; they make the average too low.
WITH by_hour AS (
  SELECT COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
    h.hour_start,
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
    AND NOT (month(h.hour_start) = 1 AND day(h.hour_start) = 1)
  GROUP BY COALESCE(w.building_type, w.building_type_group, 'unknown'), h.hour_start
)
SELECT b.building_type,
  month(b.hour_start) AS month_of_year,
  CASE WHEN day_of_week(b.hour_start) >= 6 THEN 'weekend' ELSE 'weekday' END AS day_kind,
  hour(b.hour_start) AS hour_est,
  AVG(b.electricity_kwh) AS electricity_kwh,
  COUNT(b.electricity_kwh) AS day_count,
  SUM(b.missing_hours) AS missing_hours
FROM by_hour b
GROUP BY b.building_type,
  month(b.hour_start),
  CASE WHEN day_of_week(b.hour_start) >= 6 THEN 'weekend' ELSE 'weekday' END,
  hour(b.hour_start)
ORDER BY b.building_type, month_of_year, day_kind, hour_est

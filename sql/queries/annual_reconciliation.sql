-- Do the hours of each building add up to the annual electricity that the publisher gives?
--
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 1 measure: 56 kB a building in ComStock, 22 in ResStock
-- Scans: metadata, the chosen release, state and upgrade: bldg_id and one double per row
-- Note: energies of one model, not weighted. Furthest apart first. Published figures are rounded
-- Note: (docs/tables.md); null where the metadata has no such figure.
-- Note: hour_count is the hours with a value; where that is not the whole year, the others are in the
-- Note: difference.
-- Note: fails while no loaded metadata has out_electricity_total_energy_consumption_kwh (`basic` files
-- Note: have weighted results only).
WITH hours AS (
  SELECT h.release, h.state, h.upgrade, h.bldg_id,
    SUM(h.out_electricity_total_energy_consumption_kwh) AS electricity_kwh,
    COUNT(h.out_electricity_total_energy_consumption_kwh) AS hour_count
  FROM hourly h
  WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release
    AND h.state = 'CO' -- choose state
    AND h.upgrade = 0 -- choose upgrade
  GROUP BY h.release, h.state, h.upgrade, h.bldg_id
),
published AS (
  -- One row per building: the metadata may have one per census tract, with the same figure in each.
  SELECT m.release, m.state, m.upgrade, m.bldg_id,
    MAX(m.out_electricity_total_energy_consumption_kwh) AS electricity_kwh
  FROM metadata m
  GROUP BY m.release, m.state, m.upgrade, m.bldg_id
)
SELECT s.bldg_id,
  s.hour_count,
  s.electricity_kwh AS hours_kwh,
  p.electricity_kwh AS published_kwh,
  s.electricity_kwh - p.electricity_kwh AS difference_kwh,
  100 * (s.electricity_kwh - p.electricity_kwh) / NULLIF(p.electricity_kwh, 0) AS difference_percent
FROM hours s
JOIN published p
  ON p.release = s.release
  AND p.state = s.state
  AND p.upgrade = s.upgrade
  AND p.bldg_id = s.bldg_id
ORDER BY ABS(s.electricity_kwh - p.electricity_kwh) DESC, s.bldg_id

-- What does an upgrade save against the baseline, in the buildings that it applies to?
--
-- Scans: hourly, the chosen release and state, the chosen upgrade and 0
-- Scans: 3 measures: 126 kB a building in ComStock, 79 in ResStock, twice, as two upgrades are read
-- Scans: metadata, the chosen release, state and upgrade: bldg_id and applicability
-- Note: buildings that the upgrade does not apply to have a copy of their baseline; they are left out,
-- Note: as are buildings that lack one of the two series. Percentages are of the rest's baseline.
-- Note: positive saves. Upgrade 0 against itself saves nothing. Ids mean other things in other releases.
-- Note: weights are those of the upgrade's metadata.
WITH upgraded AS (
  SELECT h.release, h.state, h.upgrade, h.bldg_id,
    COALESCE(SUM(h.out_electricity_total_energy_consumption_kwh), 0) AS electricity_kwh,
    COALESCE(SUM(h.out_natural_gas_total_energy_consumption_kwh), 0) AS natural_gas_kwh,
    COALESCE(SUM(h.out_site_energy_total_energy_consumption_kwh), 0) AS site_energy_kwh
  FROM hourly h
  WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release
    AND h.state = 'CO' -- choose state
    AND h.upgrade = 1 -- choose upgrade
  GROUP BY h.release, h.state, h.upgrade, h.bldg_id
),
baseline AS (
  SELECT b.release, b.state, b.bldg_id,
    COALESCE(SUM(b.out_electricity_total_energy_consumption_kwh), 0) AS electricity_kwh,
    COALESCE(SUM(b.out_natural_gas_total_energy_consumption_kwh), 0) AS natural_gas_kwh,
    COALESCE(SUM(b.out_site_energy_total_energy_consumption_kwh), 0) AS site_energy_kwh
  FROM hourly b
  WHERE b.upgrade = 0
  GROUP BY b.release, b.state, b.bldg_id
),
applicable AS (
  -- One row per building: the metadata may have one per census tract.
  SELECT m.release, m.state, m.upgrade, m.bldg_id
  FROM metadata m
  WHERE m.applicability
  GROUP BY m.release, m.state, m.upgrade, m.bldg_id
)
SELECT COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
  COUNT(*) AS model_count,
  SUM(w.weight) AS represented_count,
  SUM(b.electricity_kwh * w.weight) AS baseline_electricity_kwh,
  SUM((b.electricity_kwh - u.electricity_kwh) * w.weight) AS electricity_saved_kwh,
  100 * SUM((b.electricity_kwh - u.electricity_kwh) * w.weight)
    / NULLIF(SUM(b.electricity_kwh * w.weight), 0) AS electricity_saved_percent,
  SUM(b.natural_gas_kwh * w.weight) AS baseline_natural_gas_kwh,
  SUM((b.natural_gas_kwh - u.natural_gas_kwh) * w.weight) AS natural_gas_saved_kwh,
  100 * SUM((b.natural_gas_kwh - u.natural_gas_kwh) * w.weight)
    / NULLIF(SUM(b.natural_gas_kwh * w.weight), 0) AS natural_gas_saved_percent,
  SUM(b.site_energy_kwh * w.weight) AS baseline_site_energy_kwh,
  SUM((b.site_energy_kwh - u.site_energy_kwh) * w.weight) AS site_energy_saved_kwh,
  100 * SUM((b.site_energy_kwh - u.site_energy_kwh) * w.weight)
    / NULLIF(SUM(b.site_energy_kwh * w.weight), 0) AS site_energy_saved_percent
FROM upgraded u
JOIN baseline b
  ON b.release = u.release
  AND b.state = u.state
  AND b.bldg_id = u.bldg_id
JOIN applicable p
  ON p.release = u.release
  AND p.state = u.state
  AND p.upgrade = u.upgrade
  AND p.bldg_id = u.bldg_id
JOIN building_weights w
  ON w.release = u.release
  AND w.state = u.state
  AND w.upgrade = u.upgrade
  AND w.bldg_id = u.bldg_id
  AND w.geography_kind = 'state'
GROUP BY COALESCE(w.building_type, w.building_type_group, 'unknown')
ORDER BY site_energy_saved_kwh DESC

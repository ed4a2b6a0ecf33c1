-- What does an upgrade save against the baseline, in the buildings that it applies to?
--
-- Scans: hourly, the chosen release and state, the chosen upgrade and 0
-- Scans: 3 measures: 126 kB a building in ComStock, 79 in ResStock, twice, as two upgrades are read
-- Scans: metadata, the chosen release, state and upgrade: bldg_id and applicability
-- Note: buildings that the upgrade does not apply to have a copy of their baseline; they are left out
-- Note: and counted nowhere, as are those without a series of the upgrade. Percentages are of the
-- Note: baseline of the buildings that are compared.
-- Note: a building is compared only if as many hours of each measure have a value on both sides, since
-- Note: a missing hour would look like a saving. buildings_left_out counts the others, and those
-- Note: without a series of the baseline: where it is not 0, the savings are of fewer buildings.
-- Note: one exception: a side without a single value of gas has no gas, if the other has one for each
-- Note: hour of electricity. ComStock writes no column for a fuel that a model has not, as after
-- Note: electrification. A gas column lost at the source would show as saved gas, not as site energy.
-- Note: positive saves. Upgrade 0 against itself saves nothing. Ids mean other things in other releases.
-- Note: weights are those of the upgrade's metadata.
-- Note: fails while no loaded metadata has applicability; empty where the chosen partition's has not.
WITH upgraded AS (
  SELECT h.release, h.state, h.upgrade, h.bldg_id,
    COALESCE(SUM(h.out_electricity_total_energy_consumption_kwh), 0) AS electricity_kwh,
    COALESCE(SUM(h.out_natural_gas_total_energy_consumption_kwh), 0) AS natural_gas_kwh,
    COALESCE(SUM(h.out_site_energy_total_energy_consumption_kwh), 0) AS site_energy_kwh,
    COUNT(h.out_electricity_total_energy_consumption_kwh) AS electricity_hours,
    COUNT(h.out_natural_gas_total_energy_consumption_kwh) AS natural_gas_hours,
    COUNT(h.out_site_energy_total_energy_consumption_kwh) AS site_energy_hours
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
    COALESCE(SUM(b.out_site_energy_total_energy_consumption_kwh), 0) AS site_energy_kwh,
    COUNT(b.out_electricity_total_energy_consumption_kwh) AS electricity_hours,
    COUNT(b.out_natural_gas_total_energy_consumption_kwh) AS natural_gas_hours,
    COUNT(b.out_site_energy_total_energy_consumption_kwh) AS site_energy_hours
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
),
paired AS (
  -- Without a weight if its two sides cannot be compared, so that no sum holds it.
  SELECT COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
    CASE WHEN b.electricity_hours = u.electricity_hours
      AND b.site_energy_hours = u.site_energy_hours
      AND b.site_energy_hours > 0
      AND (b.natural_gas_hours = u.natural_gas_hours
        OR (LEAST(b.natural_gas_hours, u.natural_gas_hours) = 0
          AND GREATEST(b.natural_gas_hours, u.natural_gas_hours) = b.electricity_hours))
      THEN w.weight END AS weight,
    b.electricity_kwh,
    b.natural_gas_kwh,
    b.site_energy_kwh,
    b.electricity_kwh - u.electricity_kwh AS electricity_saved_kwh,
    b.natural_gas_kwh - u.natural_gas_kwh AS natural_gas_saved_kwh,
    b.site_energy_kwh - u.site_energy_kwh AS site_energy_saved_kwh
  FROM upgraded u
  LEFT JOIN baseline b
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
)
SELECT c.building_type,
  COUNT(c.weight) AS model_count,
  COUNT(*) - COUNT(c.weight) AS buildings_left_out,
  COALESCE(SUM(c.weight), 0) AS represented_count,
  SUM(c.electricity_kwh * c.weight) AS baseline_electricity_kwh,
  SUM(c.electricity_saved_kwh * c.weight) AS electricity_saved_kwh,
  100 * SUM(c.electricity_saved_kwh * c.weight)
    / NULLIF(SUM(c.electricity_kwh * c.weight), 0) AS electricity_saved_percent,
  SUM(c.natural_gas_kwh * c.weight) AS baseline_natural_gas_kwh,
  SUM(c.natural_gas_saved_kwh * c.weight) AS natural_gas_saved_kwh,
  100 * SUM(c.natural_gas_saved_kwh * c.weight)
    / NULLIF(SUM(c.natural_gas_kwh * c.weight), 0) AS natural_gas_saved_percent,
  SUM(c.site_energy_kwh * c.weight) AS baseline_site_energy_kwh,
  SUM(c.site_energy_saved_kwh * c.weight) AS site_energy_saved_kwh,
  100 * SUM(c.site_energy_saved_kwh * c.weight)
    / NULLIF(SUM(c.site_energy_kwh * c.weight), 0) AS site_energy_saved_percent
FROM paired c
GROUP BY c.building_type
ORDER BY site_energy_saved_kwh DESC

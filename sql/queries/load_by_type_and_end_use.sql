-- What does each building type of a state use energy for? ComStock, kWh a year by end use
--
-- Product: comstock
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 20 measures: 179 kB a building in ComStock
-- Note: the end uses are those that every ComStock release has. What a release has besides them
-- Note: (district heating for cooling, since 2023) is in `other`, which is site energy less all named
-- Note: rows; it holds the rounding, too. A fuel or end use that no model has counts as 0.
-- Note: ResStock has other end uses: load_by_type_and_end_use_resstock.
-- Note: missing_hours counts the building type's hours without site energy; where it is not 0, `other`
-- Note: and the percentages are off.
WITH annual AS (
  SELECT h.release, h.state, h.upgrade, h.bldg_id,
    SUM(h.out_electricity_cooling_energy_consumption_kwh) AS electricity_cooling,
    SUM(h.out_electricity_exterior_lighting_energy_consumption_kwh) AS electricity_exterior_lighting,
    SUM(h.out_electricity_fans_energy_consumption_kwh) AS electricity_fans,
    SUM(h.out_electricity_heat_recovery_energy_consumption_kwh) AS electricity_heat_recovery,
    SUM(h.out_electricity_heat_rejection_energy_consumption_kwh) AS electricity_heat_rejection,
    SUM(h.out_electricity_heating_energy_consumption_kwh) AS electricity_heating,
    SUM(h.out_electricity_interior_equipment_energy_consumption_kwh) AS electricity_interior_equipment,
    SUM(h.out_electricity_interior_lighting_energy_consumption_kwh) AS electricity_interior_lighting,
    SUM(h.out_electricity_pumps_energy_consumption_kwh) AS electricity_pumps,
    SUM(h.out_electricity_refrigeration_energy_consumption_kwh) AS electricity_refrigeration,
    SUM(h.out_electricity_water_systems_energy_consumption_kwh) AS electricity_water_systems,
    SUM(h.out_natural_gas_heating_energy_consumption_kwh) AS natural_gas_heating,
    SUM(h.out_natural_gas_interior_equipment_energy_consumption_kwh) AS natural_gas_interior_equipment,
    SUM(h.out_natural_gas_water_systems_energy_consumption_kwh) AS natural_gas_water_systems,
    SUM(h.out_district_cooling_cooling_energy_consumption_kwh) AS district_cooling_cooling,
    SUM(h.out_district_heating_heating_energy_consumption_kwh) AS district_heating_heating,
    SUM(h.out_district_heating_water_systems_energy_consumption_kwh) AS district_heating_water_systems,
    SUM(h.out_other_fuel_heating_energy_consumption_kwh) AS other_fuel_heating,
    SUM(h.out_other_fuel_water_systems_energy_consumption_kwh) AS other_fuel_water_systems,
    SUM(h.out_site_energy_total_energy_consumption_kwh) AS site_energy_total,
    COUNT(*) - COUNT(h.out_site_energy_total_energy_consumption_kwh) AS missing_hours
  FROM hourly h
  WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release
    AND h.state = 'CO' -- choose state
    AND h.upgrade = 0 -- choose upgrade
  GROUP BY h.release, h.state, h.upgrade, h.bldg_id
),
weighted AS (
  SELECT COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
    COALESCE(SUM(a.electricity_cooling * w.weight), 0) AS electricity_cooling,
    COALESCE(SUM(a.electricity_exterior_lighting * w.weight), 0) AS electricity_exterior_lighting,
    COALESCE(SUM(a.electricity_fans * w.weight), 0) AS electricity_fans,
    COALESCE(SUM(a.electricity_heat_recovery * w.weight), 0) AS electricity_heat_recovery,
    COALESCE(SUM(a.electricity_heat_rejection * w.weight), 0) AS electricity_heat_rejection,
    COALESCE(SUM(a.electricity_heating * w.weight), 0) AS electricity_heating,
    COALESCE(SUM(a.electricity_interior_equipment * w.weight), 0) AS electricity_interior_equipment,
    COALESCE(SUM(a.electricity_interior_lighting * w.weight), 0) AS electricity_interior_lighting,
    COALESCE(SUM(a.electricity_pumps * w.weight), 0) AS electricity_pumps,
    COALESCE(SUM(a.electricity_refrigeration * w.weight), 0) AS electricity_refrigeration,
    COALESCE(SUM(a.electricity_water_systems * w.weight), 0) AS electricity_water_systems,
    COALESCE(SUM(a.natural_gas_heating * w.weight), 0) AS natural_gas_heating,
    COALESCE(SUM(a.natural_gas_interior_equipment * w.weight), 0) AS natural_gas_interior_equipment,
    COALESCE(SUM(a.natural_gas_water_systems * w.weight), 0) AS natural_gas_water_systems,
    COALESCE(SUM(a.district_cooling_cooling * w.weight), 0) AS district_cooling_cooling,
    COALESCE(SUM(a.district_heating_heating * w.weight), 0) AS district_heating_heating,
    COALESCE(SUM(a.district_heating_water_systems * w.weight), 0) AS district_heating_water_systems,
    COALESCE(SUM(a.other_fuel_heating * w.weight), 0) AS other_fuel_heating,
    COALESCE(SUM(a.other_fuel_water_systems * w.weight), 0) AS other_fuel_water_systems,
    COALESCE(SUM(a.site_energy_total * w.weight), 0) AS site_energy_total,
    SUM(a.missing_hours) AS missing_hours
  FROM annual a
  JOIN building_weights w
    ON w.release = a.release
    AND w.state = a.state
    AND w.upgrade = a.upgrade
    AND w.bldg_id = a.bldg_id
    AND w.geography_kind = 'state'
  GROUP BY COALESCE(w.building_type, w.building_type_group, 'unknown')
)
SELECT t.building_type, e.fuel, e.end_use, e.energy_kwh,
  100 * e.energy_kwh / NULLIF(t.site_energy_total, 0) AS percent_of_site_energy,
  t.missing_hours
FROM weighted t
CROSS JOIN UNNEST(ARRAY[
  ROW('electricity', 'cooling', t.electricity_cooling),
  ROW('electricity', 'exterior_lighting', t.electricity_exterior_lighting),
  ROW('electricity', 'fans', t.electricity_fans),
  ROW('electricity', 'heat_recovery', t.electricity_heat_recovery),
  ROW('electricity', 'heat_rejection', t.electricity_heat_rejection),
  ROW('electricity', 'heating', t.electricity_heating),
  ROW('electricity', 'interior_equipment', t.electricity_interior_equipment),
  ROW('electricity', 'interior_lighting', t.electricity_interior_lighting),
  ROW('electricity', 'pumps', t.electricity_pumps),
  ROW('electricity', 'refrigeration', t.electricity_refrigeration),
  ROW('electricity', 'water_systems', t.electricity_water_systems),
  ROW('natural_gas', 'heating', t.natural_gas_heating),
  ROW('natural_gas', 'interior_equipment', t.natural_gas_interior_equipment),
  ROW('natural_gas', 'water_systems', t.natural_gas_water_systems),
  ROW('district_cooling', 'cooling', t.district_cooling_cooling),
  ROW('district_heating', 'heating', t.district_heating_heating),
  ROW('district_heating', 'water_systems', t.district_heating_water_systems),
  ROW('other_fuel', 'heating', t.other_fuel_heating),
  ROW('other_fuel', 'water_systems', t.other_fuel_water_systems),
  ROW('all', 'other', t.site_energy_total - (
    t.electricity_cooling + t.electricity_exterior_lighting + t.electricity_fans
    + t.electricity_heat_recovery + t.electricity_heat_rejection + t.electricity_heating
    + t.electricity_interior_equipment + t.electricity_interior_lighting + t.electricity_pumps
    + t.electricity_refrigeration + t.electricity_water_systems + t.natural_gas_heating
    + t.natural_gas_interior_equipment + t.natural_gas_water_systems + t.district_cooling_cooling
    + t.district_heating_heating + t.district_heating_water_systems + t.other_fuel_heating
    + t.other_fuel_water_systems
  ))
]) AS e (fuel, end_use, energy_kwh)
ORDER BY t.building_type, e.fuel, e.end_use

-- What does each type of home in a state use energy for? ResStock, kWh a year by end use
--
-- Product: resstock
-- Scans: hourly, the chosen release, state and upgrade
-- Scans: 38 measures: 120 kB a building in ResStock
-- Note: the end uses are those that every ResStock release since 2022 has. What a release has besides
-- Note: them (hot tubs, spas, electric vehicles, television, …) is in `other`: site energy less all
-- Note: named rows. The 2021 releases call many of them otherwise; see data_dictionary.
-- Note: pv is generation, counts in no total and is left out of `other`.
-- Note: a fuel or end use that no model has counts as 0.
-- Note: missing_hours counts the building type's hours without site energy; where it is not 0, `other`
-- Note: and the percentages are off.
WITH annual AS (
  SELECT h.release, h.state, h.upgrade, h.bldg_id,
    SUM(h.out_electricity_ceiling_fan_energy_consumption_kwh) AS electricity_ceiling_fan,
    SUM(h.out_electricity_clothes_dryer_energy_consumption_kwh) AS electricity_clothes_dryer,
    SUM(h.out_electricity_clothes_washer_energy_consumption_kwh) AS electricity_clothes_washer,
    SUM(h.out_electricity_cooling_energy_consumption_kwh) AS electricity_cooling,
    SUM(h.out_electricity_cooling_fans_pumps_energy_consumption_kwh) AS electricity_cooling_fans_pumps,
    SUM(h.out_electricity_dishwasher_energy_consumption_kwh) AS electricity_dishwasher,
    SUM(h.out_electricity_freezer_energy_consumption_kwh) AS electricity_freezer,
    SUM(h.out_electricity_heating_energy_consumption_kwh) AS electricity_heating,
    SUM(h.out_electricity_heating_fans_pumps_energy_consumption_kwh) AS electricity_heating_fans_pumps,
    SUM(h.out_electricity_heating_hp_bkup_energy_consumption_kwh) AS electricity_heating_hp_bkup,
    SUM(h.out_electricity_hot_water_energy_consumption_kwh) AS electricity_hot_water,
    SUM(h.out_electricity_lighting_exterior_energy_consumption_kwh) AS electricity_lighting_exterior,
    SUM(h.out_electricity_lighting_garage_energy_consumption_kwh) AS electricity_lighting_garage,
    SUM(h.out_electricity_lighting_interior_energy_consumption_kwh) AS electricity_lighting_interior,
    SUM(h.out_electricity_mech_vent_energy_consumption_kwh) AS electricity_mech_vent,
    SUM(h.out_electricity_plug_loads_energy_consumption_kwh) AS electricity_plug_loads,
    SUM(h.out_electricity_pool_heater_energy_consumption_kwh) AS electricity_pool_heater,
    SUM(h.out_electricity_pool_pump_energy_consumption_kwh) AS electricity_pool_pump,
    SUM(h.out_electricity_range_oven_energy_consumption_kwh) AS electricity_range_oven,
    SUM(h.out_electricity_refrigerator_energy_consumption_kwh) AS electricity_refrigerator,
    SUM(h.out_electricity_well_pump_energy_consumption_kwh) AS electricity_well_pump,
    SUM(h.out_natural_gas_clothes_dryer_energy_consumption_kwh) AS natural_gas_clothes_dryer,
    SUM(h.out_natural_gas_fireplace_energy_consumption_kwh) AS natural_gas_fireplace,
    SUM(h.out_natural_gas_grill_energy_consumption_kwh) AS natural_gas_grill,
    SUM(h.out_natural_gas_heating_energy_consumption_kwh) AS natural_gas_heating,
    SUM(h.out_natural_gas_heating_hp_bkup_energy_consumption_kwh) AS natural_gas_heating_hp_bkup,
    SUM(h.out_natural_gas_hot_water_energy_consumption_kwh) AS natural_gas_hot_water,
    SUM(h.out_natural_gas_lighting_energy_consumption_kwh) AS natural_gas_lighting,
    SUM(h.out_natural_gas_pool_heater_energy_consumption_kwh) AS natural_gas_pool_heater,
    SUM(h.out_natural_gas_range_oven_energy_consumption_kwh) AS natural_gas_range_oven,
    SUM(h.out_propane_clothes_dryer_energy_consumption_kwh) AS propane_clothes_dryer,
    SUM(h.out_propane_heating_energy_consumption_kwh) AS propane_heating,
    SUM(h.out_propane_hot_water_energy_consumption_kwh) AS propane_hot_water,
    SUM(h.out_propane_range_oven_energy_consumption_kwh) AS propane_range_oven,
    SUM(h.out_fuel_oil_heating_energy_consumption_kwh) AS fuel_oil_heating,
    SUM(h.out_fuel_oil_hot_water_energy_consumption_kwh) AS fuel_oil_hot_water,
    SUM(h.out_electricity_pv_energy_consumption_kwh) AS electricity_pv,
    SUM(h.out_site_energy_total_energy_consumption_kwh) AS site_energy_total,
    COUNT(*) - COUNT(h.out_site_energy_total_energy_consumption_kwh) AS missing_hours
  FROM hourly h
  WHERE h.release = '2022_resstock_amy2018_release_1' -- choose release
    AND h.state = 'CO' -- choose state
    AND h.upgrade = 0 -- choose upgrade
  GROUP BY h.release, h.state, h.upgrade, h.bldg_id
),
weighted AS (
  SELECT COALESCE(w.building_type, w.building_type_group, 'unknown') AS building_type,
    COALESCE(SUM(a.electricity_ceiling_fan * w.weight), 0) AS electricity_ceiling_fan,
    COALESCE(SUM(a.electricity_clothes_dryer * w.weight), 0) AS electricity_clothes_dryer,
    COALESCE(SUM(a.electricity_clothes_washer * w.weight), 0) AS electricity_clothes_washer,
    COALESCE(SUM(a.electricity_cooling * w.weight), 0) AS electricity_cooling,
    COALESCE(SUM(a.electricity_cooling_fans_pumps * w.weight), 0) AS electricity_cooling_fans_pumps,
    COALESCE(SUM(a.electricity_dishwasher * w.weight), 0) AS electricity_dishwasher,
    COALESCE(SUM(a.electricity_freezer * w.weight), 0) AS electricity_freezer,
    COALESCE(SUM(a.electricity_heating * w.weight), 0) AS electricity_heating,
    COALESCE(SUM(a.electricity_heating_fans_pumps * w.weight), 0) AS electricity_heating_fans_pumps,
    COALESCE(SUM(a.electricity_heating_hp_bkup * w.weight), 0) AS electricity_heating_hp_bkup,
    COALESCE(SUM(a.electricity_hot_water * w.weight), 0) AS electricity_hot_water,
    COALESCE(SUM(a.electricity_lighting_exterior * w.weight), 0) AS electricity_lighting_exterior,
    COALESCE(SUM(a.electricity_lighting_garage * w.weight), 0) AS electricity_lighting_garage,
    COALESCE(SUM(a.electricity_lighting_interior * w.weight), 0) AS electricity_lighting_interior,
    COALESCE(SUM(a.electricity_mech_vent * w.weight), 0) AS electricity_mech_vent,
    COALESCE(SUM(a.electricity_plug_loads * w.weight), 0) AS electricity_plug_loads,
    COALESCE(SUM(a.electricity_pool_heater * w.weight), 0) AS electricity_pool_heater,
    COALESCE(SUM(a.electricity_pool_pump * w.weight), 0) AS electricity_pool_pump,
    COALESCE(SUM(a.electricity_range_oven * w.weight), 0) AS electricity_range_oven,
    COALESCE(SUM(a.electricity_refrigerator * w.weight), 0) AS electricity_refrigerator,
    COALESCE(SUM(a.electricity_well_pump * w.weight), 0) AS electricity_well_pump,
    COALESCE(SUM(a.natural_gas_clothes_dryer * w.weight), 0) AS natural_gas_clothes_dryer,
    COALESCE(SUM(a.natural_gas_fireplace * w.weight), 0) AS natural_gas_fireplace,
    COALESCE(SUM(a.natural_gas_grill * w.weight), 0) AS natural_gas_grill,
    COALESCE(SUM(a.natural_gas_heating * w.weight), 0) AS natural_gas_heating,
    COALESCE(SUM(a.natural_gas_heating_hp_bkup * w.weight), 0) AS natural_gas_heating_hp_bkup,
    COALESCE(SUM(a.natural_gas_hot_water * w.weight), 0) AS natural_gas_hot_water,
    COALESCE(SUM(a.natural_gas_lighting * w.weight), 0) AS natural_gas_lighting,
    COALESCE(SUM(a.natural_gas_pool_heater * w.weight), 0) AS natural_gas_pool_heater,
    COALESCE(SUM(a.natural_gas_range_oven * w.weight), 0) AS natural_gas_range_oven,
    COALESCE(SUM(a.propane_clothes_dryer * w.weight), 0) AS propane_clothes_dryer,
    COALESCE(SUM(a.propane_heating * w.weight), 0) AS propane_heating,
    COALESCE(SUM(a.propane_hot_water * w.weight), 0) AS propane_hot_water,
    COALESCE(SUM(a.propane_range_oven * w.weight), 0) AS propane_range_oven,
    COALESCE(SUM(a.fuel_oil_heating * w.weight), 0) AS fuel_oil_heating,
    COALESCE(SUM(a.fuel_oil_hot_water * w.weight), 0) AS fuel_oil_hot_water,
    COALESCE(SUM(a.electricity_pv * w.weight), 0) AS electricity_pv,
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
  ROW('electricity', 'ceiling_fan', t.electricity_ceiling_fan),
  ROW('electricity', 'clothes_dryer', t.electricity_clothes_dryer),
  ROW('electricity', 'clothes_washer', t.electricity_clothes_washer),
  ROW('electricity', 'cooling', t.electricity_cooling),
  ROW('electricity', 'cooling_fans_pumps', t.electricity_cooling_fans_pumps),
  ROW('electricity', 'dishwasher', t.electricity_dishwasher),
  ROW('electricity', 'freezer', t.electricity_freezer),
  ROW('electricity', 'heating', t.electricity_heating),
  ROW('electricity', 'heating_fans_pumps', t.electricity_heating_fans_pumps),
  ROW('electricity', 'heating_hp_bkup', t.electricity_heating_hp_bkup),
  ROW('electricity', 'hot_water', t.electricity_hot_water),
  ROW('electricity', 'lighting_exterior', t.electricity_lighting_exterior),
  ROW('electricity', 'lighting_garage', t.electricity_lighting_garage),
  ROW('electricity', 'lighting_interior', t.electricity_lighting_interior),
  ROW('electricity', 'mech_vent', t.electricity_mech_vent),
  ROW('electricity', 'plug_loads', t.electricity_plug_loads),
  ROW('electricity', 'pool_heater', t.electricity_pool_heater),
  ROW('electricity', 'pool_pump', t.electricity_pool_pump),
  ROW('electricity', 'range_oven', t.electricity_range_oven),
  ROW('electricity', 'refrigerator', t.electricity_refrigerator),
  ROW('electricity', 'well_pump', t.electricity_well_pump),
  ROW('natural_gas', 'clothes_dryer', t.natural_gas_clothes_dryer),
  ROW('natural_gas', 'fireplace', t.natural_gas_fireplace),
  ROW('natural_gas', 'grill', t.natural_gas_grill),
  ROW('natural_gas', 'heating', t.natural_gas_heating),
  ROW('natural_gas', 'heating_hp_bkup', t.natural_gas_heating_hp_bkup),
  ROW('natural_gas', 'hot_water', t.natural_gas_hot_water),
  ROW('natural_gas', 'lighting', t.natural_gas_lighting),
  ROW('natural_gas', 'pool_heater', t.natural_gas_pool_heater),
  ROW('natural_gas', 'range_oven', t.natural_gas_range_oven),
  ROW('propane', 'clothes_dryer', t.propane_clothes_dryer),
  ROW('propane', 'heating', t.propane_heating),
  ROW('propane', 'hot_water', t.propane_hot_water),
  ROW('propane', 'range_oven', t.propane_range_oven),
  ROW('fuel_oil', 'heating', t.fuel_oil_heating),
  ROW('fuel_oil', 'hot_water', t.fuel_oil_hot_water),
  ROW('electricity', 'pv', t.electricity_pv),
  ROW('all', 'other', t.site_energy_total - (
    t.electricity_ceiling_fan + t.electricity_clothes_dryer + t.electricity_clothes_washer
    + t.electricity_cooling + t.electricity_cooling_fans_pumps + t.electricity_dishwasher
    + t.electricity_freezer + t.electricity_heating + t.electricity_heating_fans_pumps
    + t.electricity_heating_hp_bkup + t.electricity_hot_water + t.electricity_lighting_exterior
    + t.electricity_lighting_garage + t.electricity_lighting_interior + t.electricity_mech_vent
    + t.electricity_plug_loads + t.electricity_pool_heater + t.electricity_pool_pump
    + t.electricity_range_oven + t.electricity_refrigerator + t.electricity_well_pump
    + t.natural_gas_clothes_dryer + t.natural_gas_fireplace + t.natural_gas_grill
    + t.natural_gas_heating + t.natural_gas_heating_hp_bkup + t.natural_gas_hot_water
    + t.natural_gas_lighting + t.natural_gas_pool_heater + t.natural_gas_range_oven
    + t.propane_clothes_dryer + t.propane_heating + t.propane_hot_water
    + t.propane_range_oven + t.fuel_oil_heating + t.fuel_oil_hot_water
  ))
]) AS e (fuel, end_use, energy_kwh)
ORDER BY t.building_type, e.fuel, e.end_use

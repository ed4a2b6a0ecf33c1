-- Buildings under clean names.
-- Scans: building_weights.
CREATE OR REPLACE VIEW buildings AS
SELECT bldg_id FROM building_weights

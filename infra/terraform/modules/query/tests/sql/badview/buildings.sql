-- Another view.
CREATE OR REPLACE VIEW loads AS SELECT 1 AS one

-- A name.
SELECT 1

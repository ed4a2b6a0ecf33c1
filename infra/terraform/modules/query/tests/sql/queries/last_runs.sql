-- Which runs were there?
-- Scans: all of runs.
SELECT * FROM runs

-- What do the buildings of one state use in a year?
-- Scans: one partition of hourly, two columns.
SELECT SUM(h.kwh)
FROM hourly h
WHERE h.release = '2024_comstock_amy2018_release_1' -- choose release
  AND h.state = 'CO' -- choose state
  AND h.upgrade = 0 -- choose upgrade
  AND h.other = 'CO'

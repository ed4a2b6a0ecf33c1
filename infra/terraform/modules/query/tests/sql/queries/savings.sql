-- What does an upgrade of homes save?
-- Product: resstock
SELECT SUM(h.kwh)
FROM hourly h
WHERE h.release = '2022_resstock_amy2018_release_1' -- choose release
  AND h.state = 'CO' -- choose state
  AND h.upgrade = 1 -- choose upgrade

-- A marker too far from its literal.
SELECT 1 FROM hourly h WHERE h.state IN ('CO', 'GA') -- choose state

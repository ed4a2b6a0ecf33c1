"""Quarter-hours to hours: decode, roll up, check, stage."""

"""What `make package` runs: our wheel, the zip of wheels that Glue installs, and their check."""

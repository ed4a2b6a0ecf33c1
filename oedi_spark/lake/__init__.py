"""What we publish: the catalog, the tables, the one atomic commit."""

"""What happened: transitions per file, the summary of a run."""

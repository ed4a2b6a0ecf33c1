"""Benchmarks: the job beside what a user would run instead, on the same files, in one call."""

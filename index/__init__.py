"""Cases and vectors on disk. Knows arrays and records, not images."""

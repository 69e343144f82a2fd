"""Readers of archives, one file each; `index.cohort.COHORTS` is their table."""

"""The data-quality report of an archive: `python -m index report`."""

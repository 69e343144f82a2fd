"""A scan's bytes -> `Scan` -> signature. Knows images, not cases."""

"""A question and its answer: similar prior cases and what happened to those patients."""

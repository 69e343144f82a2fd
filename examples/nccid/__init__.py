"""An archive in NCCID's layout whose truth is known: invented patients, written down as badly as real ones are.

A patient travels in a line: `centres` (who writes, and how) -> `patient` (what happened) -> `form`, `measurements` and
`hand` (what is put down of it, and how badly) -> `image` and `warehouse` (files) -> `truth` (what a perfect reader finds).

Nobody in it ever lived. Some centres bear the names of real trusts, because units by site are published under those names.
"""

"""The encoders, one file each; `embed.encoder.ENCODERS` is their table."""

"""A scan's bytes -> `Scan` -> signature. Knows images, not cases."""

import os

# ONNX Runtime's builds for Linux (1.32) tell Microsoft of each process and model, and keep an id of the computer on disk, unless
# this is set before they are first imported (onnxruntime pull requests 27379 and 29843). Nothing of ours may call elsewhere.
os.environ.update(ORT_DISABLE_TELEMETRY="1", ORT_TELEMETRY_DISABLED="1")

"""The clinician's page and the API behind it: `gunicorn "web:create_app()"`, or `python -m web --index DIR` for one person."""

import os
from typing import Any

# Before NumPy is loaded: its threads would wait for each other's work at full speed, a third of all a query costs, while requests
# and decoders want the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def create_app(*arguments: Any, **options: Any) -> Any:
    """See `web.app.create_app`."""
    from web.app import create_app as make

    return make(*arguments, **options)

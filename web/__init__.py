"""The clinician's page and the API behind it: `gunicorn "web:create_app()"`, or `python -m web --index DIR` for one person."""

from typing import Any


def create_app(*arguments: Any, **options: Any) -> Any:
    """See `web.app.create_app`."""
    from web.app import create_app as make

    return make(*arguments, **options)

"""What `python -m web` can do beside serving: the audit and the API keys."""

import click

from web.api_key_command import api_key
from web.audit_command import audit

COMMANDS: tuple[click.Command, ...] = (audit, api_key)

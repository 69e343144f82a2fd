"""`python -m web api-key`: keys for programs."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import click

from web.api_keys import ApiKeyError, new_key, read_keys
from web.api_keys import revoke as revoke_keys
from web.principal import Role

LONGEST_DAYS = 366
KEYS_OPTION = click.option(
    "--keys",
    "path",
    type=click.Path(path_type=Path),
    envvar="LIKEWISE_API_KEYS",
    required=True,
    help="The file of keys.  [default: LIKEWISE_API_KEYS]",
)


@click.group("api-key")
def api_key() -> None:
    """Keys for programs."""


@api_key.command()
@KEYS_OPTION
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option(
    "--days", type=click.IntRange(1, LONGEST_DAYS), default=90, show_default=True, help="How long it is good."
)
def new(path: Path, name: str, role: str, days: int) -> None:
    """Makes a key and prints it on stdout, this once."""
    expires = datetime.now(UTC) + timedelta(days=days)
    try:
        key = new_key(path, name, Role(role), expires=expires)
    except ApiKeyError as error:
        _stop(str(error))
    click.echo(key)
    click.echo(f"{name}: {role}, good until {expires:%Y-%m-%d %H:%M} UTC. It cannot be shown again.", err=True)


@api_key.command("list")
@KEYS_OPTION
def list_keys(path: Path) -> None:
    """Names, roles and ends; never the keys."""
    now = datetime.now(UTC)
    try:
        keys = read_keys(path)
    except ApiKeyError as error:
        _stop(str(error))
    for key in keys:
        state = "revoked" if key.revoked else "good" if key.good_at(now) else "ended"
        click.echo(f"{key.id}  {key.name}  {key.role}  {state}  {key.revoked or key.expires}")


@api_key.command()
@KEYS_OPTION
@click.argument("name")
def revoke(path: Path, name: str) -> None:
    """Ends a key, by name or id, for running servers too."""
    try:
        ended = revoke_keys(path, name)
    except ApiKeyError as error:
        _stop(str(error))
    if not ended:
        _stop(f"no good key is named {name!r}")
    click.echo(f"{name}: revoked", err=True)


def _stop(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)

"""What a server is told: read from the environment once, and passed down."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

SHORTEST_KEY = 16  # characters


class Access(Enum):
    """Who is let in."""

    DEMO = "demo"  # one person, on this very computer
    OIDC = "oidc"  # whoever a hospital's OpenID provider vouches for
    PROXY = "proxy"  # whoever a trusted reverse proxy names


class ConfigError(Exception):
    """A setting that cannot be used; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one server. docs/security.md explains them."""

    index: Path
    access: Access
    secret_key: str
    audit: Path
    api_keys: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    proxy_user_header: str = "X-Remote-User"
    proxy_roles_header: str = "X-Remote-Roles"
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = None
    oidc_roles_claim: str = "roles"
    session_minutes: int = 30
    upload_mb: int = 512
    query_minutes: int = 15
    queries_held: int = 64
    samples: Path | None = None
    own_site: str | None = None  # as the archive calls the hospital whose scans are uploaded
    host: str = "127.0.0.1"

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> "Config":
        """From variables named LIKEWISE_INDEX, LIKEWISE_ACCESS and so on. Raises `ConfigError`."""
        given = {
            name: env[f"LIKEWISE_{name.upper()}"]
            for name in cls.__dataclass_fields__
            if f"LIKEWISE_{name.upper()}" in env
        }
        if "index" not in given:
            raise ConfigError("LIKEWISE_INDEX is not set; it names the index folder to serve")
        try:
            access = Access(given.get("access", "demo"))
        except ValueError as error:
            raise ConfigError(f"LIKEWISE_ACCESS is {given['access']!r}; expected demo, oidc or proxy") from error
        key = given.get("secret_key") or (secrets.token_hex(32) if access is Access.DEMO else "")
        if len(key) < SHORTEST_KEY:
            raise ConfigError(
                f"LIKEWISE_SECRET_KEY needs at least {SHORTEST_KEY} characters; make one: openssl rand -hex 32"
            )
        values: dict[str, object] = {
            **given,
            "index": Path(given["index"]),
            "access": access,
            "secret_key": key,
            "audit": Path(given.get("audit") or default_audit()),
            "trusted_proxies": tuple(given.get("trusted_proxies", "").replace(",", " ").split()),
        }
        for name in ("api_keys", "samples"):
            if name in given:
                values[name] = Path(given[name])
        for name in ("session_minutes", "upload_mb", "query_minutes", "queries_held"):
            if name in given:
                values[name] = _positive(name, given[name])
        if access is Access.OIDC and not all(
            given.get(f"oidc_{name}") for name in ("issuer", "client_id", "client_secret")
        ):
            raise ConfigError("LIKEWISE_ACCESS=oidc needs LIKEWISE_OIDC_ISSUER, _CLIENT_ID and _CLIENT_SECRET")
        if access is Access.PROXY and not values["trusted_proxies"]:
            raise ConfigError(
                "LIKEWISE_ACCESS=proxy needs LIKEWISE_TRUSTED_PROXIES, the addresses whose headers are believed"
            )
        return cls(**values)  # type: ignore[arg-type]


def default_audit() -> Path:
    return Path.home() / ".local" / "state" / "likewise" / "audit.jsonl"


def _positive(name: str, text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise ConfigError(f"LIKEWISE_{name.upper()} is {text!r}; expected a whole number above 0")
    return int(text)

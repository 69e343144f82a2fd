"""The ways in and out for people: OpenID Connect by Authlib; the reverse proxy's header; and out again."""

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Flask, current_app, g, redirect, request, session, url_for
from flask.sessions import SessionMixin
from werkzeug.exceptions import BadRequest, Forbidden, ServiceUnavailable
from werkzeug.wrappers import Response

from web import sessions
from web.audit import AuditLog
from web.principal import Means, Principal, clean_name, roles_named
from web.proxies import TRUSTED

if TYPE_CHECKING:
    from web.config import Config

EXTENSION = "likewise.oidc"
PROVIDER = "provider"  # Authlib's name for it, by which it keeps what it has to remember
TIMEOUT_SECONDS = 10.0  # of every answer of the provider
# signed with the provider's own private key; never "none", nor a secret that two know
SIGNATURES = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"})  # fmt: skip

blueprint = Blueprint("signin", __name__)


class OpenIdProvider:
    """The hospital's provider, as its discovery document describes it (OpenID Connect Discovery 1.0)."""

    def __init__(self, app: Flask, issuer: str, client_id: str, client_secret: str | None, roles_claim: str) -> None:
        """Asks nothing yet, so that a server starts while its provider is away. Raises ValueError for a plain-text issuer."""
        if urlsplit(issuer).scheme != "https" and urlsplit(issuer).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(f"the OpenID issuer {issuer} has to be https")
        from authlib.integrations.flask_client import OAuth  # slow to import, and no other way in needs it

        self.issuer = issuer
        self._client_id = client_id
        self._roles_claim = roles_claim
        self._client: Any = OAuth(app).register(
            name=PROVIDER,
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid profile",
                "code_challenge_method": "S256",
                "default_timeout": TIMEOUT_SECONDS,
                "token_endpoint_auth_method": "client_secret_basic" if client_secret else "none",
            },
        )

    def redirect(self, callback: str) -> Response:
        """Sends the browser to the provider. Raises `ServiceUnavailable`."""
        self._metadata()
        return self._client.authorize_redirect(callback)

    def claims(self) -> Mapping[str, Any]:
        """The ID token's, once everything about it has been checked. Raises `BadRequest` or `ServiceUnavailable`."""
        import requests
        from authlib.integrations.flask_client import OAuthError
        from joserfc.errors import JoseError

        self._metadata()
        wanted = {
            "iss": {"essential": True, "values": [self.issuer]},
            "aud": {"essential": True, "values": [self._client_id]},
            "sub": {"essential": True},
        }
        try:
            token = self._client.authorize_access_token(claims_options=wanted)
        except requests.RequestException as error:
            raise _away() from error
        except (OAuthError, JoseError, ValueError, KeyError) as error:
            raise BadRequest("this sign-in is not valid, or was begun too long ago; begin again") from error
        if not token.get("userinfo"):
            raise BadRequest("the OpenID provider sent no ID token; begin again")
        claims: Mapping[str, Any] = token["userinfo"]
        return claims

    def principal(self, claims: Mapping[str, Any]) -> Principal:
        """Raises `Forbidden` for somebody without a role here."""
        named = (claims.get(claim) for claim in ("preferred_username", "name", "email", "sub"))
        name = next((clean for clean in map(clean_name, (n for n in named if isinstance(n, str))) if clean), "?")
        found: object = claims
        for step in self._roles_claim.split("."):  # Keycloak's are in realm_access.roles
            found = found.get(step) if isinstance(found, Mapping) else None
        return Principal(name, roles_named(found), f"oidc:{claims['sub']}", Means.SESSION)

    def way_out(self, back: str) -> str | None:
        """Where the provider's own session is ended (OpenID Connect RP-Initiated Logout 1.0), if it can be and is at the
        issuer's own host, which is all that the page's policy allows.
        """
        try:
            there = self._metadata().get("end_session_endpoint")
        except ServiceUnavailable:
            return None
        if not isinstance(there, str) or origin(there) != origin(self.issuer):
            return None
        join = "&" if urlsplit(there).query else "?"
        return f"{there}{join}{urlencode({'client_id': self._client_id, 'post_logout_redirect_uri': back})}"

    def _metadata(self) -> dict[str, Any]:
        import requests

        try:
            found: dict[str, Any] = self._client.load_server_metadata()
        except (requests.RequestException, ValueError) as error:
            raise _away() from error
        if found.get("issuer") != self.issuer:
            raise ServiceUnavailable("the OpenID provider calls itself by another name than the one configured here")
        named = found.get("id_token_signing_alg_values_supported", ["RS256"])
        found["id_token_signing_alg_values_supported"] = [name for name in named if name in SIGNATURES]
        return found


def install(app: Flask, config: "Config") -> None:
    """For access by OpenID Connect: makes the provider known. Raises ValueError."""
    app.extensions[EXTENSION] = OpenIdProvider(
        app,
        str(config.oidc_issuer),
        str(config.oidc_client_id),
        config.oidc_client_secret,
        config.oidc_roles_claim,
    )


def proxied_principal(user_header: str, roles_header: str) -> Principal | None:
    """Whom the trusted proxy says it let in; None where it is no trusted proxy, or says nobody.

    A comma is a second header of the same name, which WSGI has joined: somebody tried to slip one in.
    """
    if not request.environ.get(TRUSTED):
        return None
    user = request.headers.get(user_header, "")
    name = clean_name(user)
    if name is None or "," in user:
        return None
    return Principal(name, roles_named(request.headers.get(roles_header, "")), f"proxy:{name}", Means.PROXY)


@blueprint.get("/sign-in")
def sign_in() -> Response:
    """To the provider, and back to the page that was wanted."""
    provider = _provider()
    back = local_path(request.args.get("next", "/"))
    if provider is None:
        return redirect(back)
    forget_begun(session)
    session["next"] = back
    return provider.redirect(url_for("signin.callback", _external=True))


@blueprint.get("/sign-in/callback")
def callback() -> Response:
    """From the provider. Only a person with a role gets a session."""
    provider = _provider()
    if provider is None:
        return redirect("/")
    principal = provider.principal(provider.claims())
    audit: AuditLog = current_app.extensions["likewise.audit"]
    back = local_path(str(session.get("next", "/")))
    session.clear()
    if not principal.roles:
        audit.record("sign-in-refused", principal=principal)
        raise Forbidden("you are known, but have no role here; ask whoever runs Likewise for one")
    audit.record("signed-in", principal=principal)
    sessions.start(session, principal, sid=secrets.token_urlsafe(16))
    return redirect(back)


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """Out of here, and out of the provider, or the next person at this computer would be let in as this one."""
    if g.principal is not None:
        current_app.extensions["likewise.audit"].record("signed-out")
    session.clear()
    provider, here = _provider(), f"{request.url_root.rstrip('/')}/signed-out"
    way_out = provider.way_out(here) if provider is not None else None
    return redirect(way_out or here, 303)


def forget_begun(session: SessionMixin) -> None:
    """All sign-ins that were begun but the last, which another tab may be at: a cookie holds 4 kB, and each takes one of them."""
    begun = [key for key in session if key.startswith(f"_state_{PROVIDER}_")]
    for key in sorted(begun, key=lambda key: float(session[key]["exp"]))[:-1]:
        session.pop(key)


def local_path(path: str) -> str:
    """`path` if it leads to this site, else the first page: nobody is sent elsewhere by a link to this one."""
    good = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if good else "/"


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _provider() -> OpenIdProvider | None:
    return current_app.extensions.get(EXTENSION)


def _away() -> ServiceUnavailable:
    return ServiceUnavailable("the OpenID provider does not answer as it should; try again in a minute")

"""A small OpenID provider, for tests of signing in: discovery, JWKS, code flow with PKCE (S256) and nonce, its own process.

`python -m tests.oidc_provider` prints its address. Whoever is asked for is let in: /authorize shows a form of users, and
`?login_hint=NAME` does without it. How it misbehaves is said by POST /misbehave with `how=…`.
"""

import base64
import hashlib
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask, abort, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import Key, KeySet, OctKey, RSAKey
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

CLIENT_ID = "likewise"
CLIENT_SECRET = "between-the-two-of-us"
USERS: dict[str, list[str]] = {
    "clinician": ["clinician"],
    "researcher": ["researcher"],
    "operator": ["operator"],
    "auditor": ["auditor"],
    "visitor": ["default-roles-hospital"],
}


def provider_app(issuer: str) -> Flask:
    app = Flask("tests.oidc_provider")
    keys: list[Key] = [RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})]
    codes: dict[str, dict[str, str]] = {}
    misbehaving: set[str] = set()

    @app.post("/misbehave")
    def misbehave() -> Response:
        how = request.form["how"]
        misbehaving.clear()
        if how == "new-key":  # which is no misbehaviour: clients have to look for it
            keys[:] = [RSAKey.generate_key(2048, {"kid": "second", "use": "sig", "alg": "RS256"})]
        elif how:
            misbehaving.add(how)
        return Response(status=204)

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Response:
        return jsonify(
            issuer=f"{issuer}/other" if "other-name" in misbehaving else issuer,
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            jwks_uri=f"{issuer}/jwks",
            end_session_endpoint=f"{issuer}/logout",
            response_types_supported=["code"],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=["RS256", "none", "HS256"],
            code_challenge_methods_supported=["S256"],
        )

    @app.get("/jwks")
    def jwks() -> Response:
        return jsonify(KeySet(keys).as_dict(private=False))

    @app.get("/authorize")
    def authorize() -> Response | str:
        asked = request.args
        if asked.get("client_id") != CLIENT_ID or asked.get("response_type") != "code":
            abort(400)
        if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge") or not asked.get("nonce"):
            abort(400)
        if "openid" not in asked.get("scope", "").split():
            abort(400)
        user = asked.get("login_hint")
        if user is None:
            links = "".join(
                f'<p><a href="?{urlencode({**asked.to_dict(), "login_hint": name})}">{name}</a></p>' for name in USERS
            )
            return f"<!doctype html><title>Sign in</title>{links}"
        if "denies" in misbehaving:
            return redirect(f"{asked['redirect_uri']}?{urlencode({'error': 'access_denied', 'state': asked['state']})}")
        code = secrets.token_urlsafe(24)
        codes[code] = {**asked.to_dict(), "user": user}
        return redirect(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    @app.post("/token")
    def token() -> Response:
        if "breaks" in misbehaving:
            abort(500)
        sent = request.authorization
        if sent is None or (sent.username, sent.password) != (CLIENT_ID, CLIENT_SECRET):
            return _error("invalid_client", 401)
        known = codes.pop(request.form.get("code", ""), None)
        if known is None or known["redirect_uri"] != request.form.get("redirect_uri"):
            return _error("invalid_grant")
        digest = hashlib.sha256(request.form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != known["code_challenge"]:
            return _error("invalid_grant")
        answer = {"access_token": secrets.token_urlsafe(24), "token_type": "Bearer", "expires_in": 60}
        if "no-id-token" not in misbehaving:
            answer["id_token"] = id_token(known)
        return jsonify(answer)

    def id_token(known: dict[str, str]) -> str:
        now, user = int(time.time()), known["user"]
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": CLIENT_ID,
            "sub": f"sub-of-{user}",
            "iat": now,
            "exp": now + 60,
            "nonce": known["nonce"],
            "preferred_username": user,
            "realm_access": {"roles": USERS.get(user, [])},
        }
        wrong: dict[str, dict[str, Any]] = {
            "wrong-issuer": {"iss": "https://evil.example"},
            "wrong-audience": {"aud": "another-client"},
            "wrong-nonce": {"nonce": "of another sign-in"},
            "expired": {"iat": now - 9000, "exp": now - 8000},
        }
        for how in misbehaving:
            claims |= wrong.get(how, {})
        if "unsigned" in misbehaving:
            parts = ({"alg": "none"}, claims)
            return ".".join(_base64(jsonify(part).get_data()) for part in parts) + "."
        if "secret-signed" in misbehaving:
            return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET * 2), algorithms=["HS256"])
        key = keys[0]
        if "wrong-key" in misbehaving:
            key = RSAKey.generate_key(2048, {"kid": str(keys[0].kid)})
        return jwt.encode({"alg": "RS256", "kid": str(key.kid)}, claims, key)

    @app.get("/logout")
    def logout() -> Response:
        return redirect(request.args["post_logout_redirect_uri"])

    return app


@contextmanager
def running_provider() -> Iterator[str]:
    """The issuer's address, of a provider in its own process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.oidc_provider"],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        assert issuer.startswith("http://127.0.0.1:"), issuer
        yield issuer
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _error(code: str, status: int = 400) -> Response:
    answer = jsonify(error=code)
    answer.status_code = status
    return answer


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class _Quiet(WSGIRequestHandler):
    def log(self, kind: str, message: str, *args: Any) -> None:
        """Nothing."""


def main() -> None:
    """Serves until it is ended, at a free port of this computer."""
    server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True, request_handler=_Quiet)
    issuer = f"http://127.0.0.1:{server.server_port}"
    server.app = provider_app(issuer)
    print(issuer, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

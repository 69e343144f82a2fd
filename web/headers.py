"""Headers that tell browsers what this site never does, so that they stop whatever else would."""

from flask import Flask, request
from werkzeug.wrappers import Response

HSTS_SECONDS = 31_536_000  # a year
UNUSED_FEATURES = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")


def content_security_policy(*, form_targets: tuple[str, ...] = ()) -> str:
    """Everything from this site and nothing inline. `form_targets`: where signing out may lead to, for Chromium
    holds the redirect of a form to form-action too.
    """
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            "font-src 'self'",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            " ".join(["form-action 'self'", *form_targets]),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )


def install(app: Flask, *, form_targets: tuple[str, ...] = ()) -> None:
    policy = content_security_policy(form_targets=form_targets)

    @app.after_request
    def add(response: Response) -> Response:
        fixed = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            # not no-referrer: then browsers would send `Origin: null` with this site's own forms
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES),
            "X-Robots-Tag": "noindex, nofollow",
        }
        for name, value in fixed.items():
            response.headers[name] = value
        if request.is_secure:
            response.headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
        if (request.endpoint or "").rpartition(".")[2] != "static":
            response.headers["Cache-Control"] = "no-store"
        return response

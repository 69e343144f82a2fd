"""What a reverse proxy says of a request is believed from listed addresses only, and forgotten from any other.

Werkzeug's ProxyFix counts hops and believes whoever is at the other end; here the peer's own address decides.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

UNIX = "unix"  # how the peers of a Unix socket, who have no address, are listed
TRUSTED = "likewise.trusted_proxy"  # in the WSGI environment: whether the peer is a listed proxy
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")
SAYS_FORWARDED = (*FORWARDED, "HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")


class TrustedProxies:
    """WSGI middleware: address, scheme and host as the nearest proxy gives them, if it is one of ours."""

    def __init__(self, app: "WSGIApplication", proxies: Iterable[object]) -> None:
        """`proxies`: addresses, networks, or "unix". Raises ValueError for what is none of these."""
        words = [str(proxy) for proxy in proxies]
        self._app = app
        self._unix = UNIX in words
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(word) for word in words if word != UNIX]

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        trusted = self.trusts(str(environ.get("REMOTE_ADDR") or ""))
        environ[TRUSTED] = trusted
        said = {name: _last(environ.pop(name, "")) for name in FORWARDED} if trusted else {}
        if said.get("HTTP_X_FORWARDED_FOR"):
            environ["REMOTE_ADDR"] = said["HTTP_X_FORWARDED_FOR"]
        if said.get("HTTP_X_FORWARDED_PROTO") in ("http", "https"):
            environ["wsgi.url_scheme"] = said["HTTP_X_FORWARDED_PROTO"]
        if said.get("HTTP_X_FORWARDED_HOST"):
            environ["HTTP_HOST"] = said["HTTP_X_FORWARDED_HOST"]
        return self._app(environ, start_response)

    def trusts(self, peer: str) -> bool:
        """`peer`: the address at the other end of the connection, empty for a Unix socket."""
        if not peer:
            return self._unix
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._networks)


def _last(values: str) -> str:
    """What the nearest proxy added: earlier ones were written by whoever asked it."""
    return values.rpartition(",")[2].strip()

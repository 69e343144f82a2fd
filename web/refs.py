"""Cases as a browser knows them: a signed name of snapshot, kind and row, which tells nobody's identifier."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

SIGNATURE = 12  # bytes


@dataclass(frozen=True)
class CaseRef:
    """One row of one snapshot."""

    snapshot: str
    kind: str
    row: int

    def token(self, secret: str) -> str:
        said = f"{self.snapshot}|{self.kind}|{self.row}".encode()
        return base64.urlsafe_b64encode(_signed(said, secret) + said).decode().rstrip("=")


def parse(token: str, secret: str) -> CaseRef | None:
    """The case that `CaseRef.token` named; None for anything else."""
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        signature, said = content[:SIGNATURE], content[SIGNATURE:]
        if not hmac.compare_digest(signature, _signed(said, secret)):
            return None
        snapshot, kind, row = said.decode().split("|")
        return CaseRef(snapshot, kind, int(row))
    except (ValueError, binascii.Error, UnicodeError):
        return None


def _signed(said: bytes, secret: str) -> bytes:
    return hmac.new(b"case " + secret.encode(), said, hashlib.sha256).digest()[:SIGNATURE]

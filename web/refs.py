"""Cases as a browser knows them: a sealed name of snapshot, kind and row, which tells nobody's identifier and no order."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

LONGEST = 256  # characters of a name


@dataclass(frozen=True)
class CaseRef:
    """One row of one snapshot."""

    snapshot: str
    kind: str
    row: int

    def token(self, secret: str) -> str:
        """The same at any time, so that a page finds a case again (AES-SIV, RFC 5297, needs no nonce)."""
        said = f"{self.snapshot}|{self.kind}|{self.row}".encode()
        return base64.urlsafe_b64encode(_cipher(secret).encrypt(said, None)).decode().rstrip("=")


def parse(token: str, secret: str) -> CaseRef | None:
    """What a token names; None for one that was not made with this secret."""
    if len(token) > LONGEST:
        return None
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        snapshot, kind, row = _cipher(secret).decrypt(sealed, None).decode().split("|")
        found = CaseRef(snapshot, kind, int(row))
    except (InvalidTag, ValueError, binascii.Error, UnicodeError):
        return None
    return found if found.token(secret) == token else None  # base64 can be written in more than one way


@lru_cache(maxsize=4)
def _cipher(secret: str) -> AESSIV:
    return AESSIV(hashlib.sha512(b"case " + secret.encode()).digest())

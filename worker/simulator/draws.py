"""Numbers that look random and are the same in every run: hashes of seed, claim and attempt."""

from hashlib import blake2b

_UNIT = 2.0**-64


def draw(seed: int, purpose: str, claim: str, attempt: int = 0) -> float:
    """Return a number in 0 ≤ x < 1 that depends on nothing but the arguments."""
    text = f"{seed}|{purpose}|{attempt}|{claim}".encode(errors="replace")
    return int.from_bytes(blake2b(text, digest_size=8).digest()) * _UNIT


def fingerprint(*parts: bytes) -> bytes:
    """Return 16 bytes that stand for the parts."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()

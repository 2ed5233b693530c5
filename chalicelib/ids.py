"""Deterministic ids: the same parts always give the same one. Pure."""

import hashlib


def fingerprint(*parts: str, digits: int = 24) -> str:
    """Return `digits` hexadecimal digits that identify `parts`; `a, bc` and `ab, c` differ."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]

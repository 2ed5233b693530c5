"""Deterministic ids: the same parts always give the same one. Pure."""

import hashlib


def fingerprint(*parts: str, digits: int = 24) -> str:
    """Return `digits` hexadecimal digits that stand for `parts`; parts cannot run into each other."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]

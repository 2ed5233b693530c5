"""Reads an object back and compares it, part after part, with the hashes it should have: the proof of an
artefact."""

import hashlib
from collections.abc import Callable, Sequence

from chalicelib.errors import IntegrityFailure
from chalicelib.vaults.vault import Vault

READ_BYTES = 8 * 1024 * 1024


def read_back(
    vault: Vault, key: str, parts: Sequence[tuple[int, str]], done: int, stop: Callable[[], bool]
) -> int:
    """Check the parts (size in bytes, SHA-256) that follow the first `done`, at least one, until `stop`
    says so.

    Returns: how many parts are checked now, from the first on.

    Raises:
        IntegrityFailure: a part is not what it should be; it names vault, key and part.
    """
    start = sum(size for size, _ in parts[:done])
    for size, expected in parts[done:]:
        found = _sha256(vault, key, start, size)
        if found != expected:
            raise IntegrityFailure(
                f"part {done + 1} reads back as {found}, it should be {expected}",
                operation="reading back",
                resource=f"{vault.name}:{key}",
            )
        start += size
        done += 1
        if stop():
            break
    return done


def _sha256(vault: Vault, key: str, start: int, size: int) -> str:
    digest = hashlib.sha256()
    for offset in range(start, start + size, READ_BYTES):
        digest.update(vault.read(key, offset, min(READ_BYTES, start + size - offset)))
    return digest.hexdigest()

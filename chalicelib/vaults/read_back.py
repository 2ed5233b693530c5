"""Verifies an object: reads it back and compares each part with the hash it should have.

If one turn reads all of it, the SHA-256 of the whole is computed from the same bytes. A larger file is read
in several turns, between which the state of a hash cannot be kept; such a file is identified by the hash over
its parts (`manifest.identity`).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chalicelib.errors import IntegrityFailure
from chalicelib.vaults.s3 import S3Vault

READ_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PinnedObject:
    """An object, and the ETag of the bytes that are meant."""

    vault: S3Vault
    key: str
    etag: str

    def blocks(self, start: int, size: int) -> Iterator[bytes]:
        """Yield the `size` bytes from offset `start`, in blocks.

        Raises:
            Conflict: the object has been replaced.
        """
        for offset in range(start, start + size, READ_BYTES):
            length = min(READ_BYTES, start + size - offset)
            yield self.vault.read(self.key, offset, length, etag=self.etag)


@dataclass(frozen=True, slots=True)
class Verified:
    """How many parts are right, from the first on; the SHA-256 of the whole if one turn read all of it."""

    parts: int
    sha256: str | None = None


def read_back(
    found: PinnedObject, parts: Sequence[tuple[int, str]], done: int, stop: Callable[[], bool]
) -> Verified:
    """Verify the parts (size in bytes, SHA-256) after the first `done`, at least one, until `stop()` is true.

    Raises:
        IntegrityFailure: a part is not what it should be; it names vault, key and part.
        Conflict: the object has been replaced.
    """
    whole, begun = hashlib.sha256(), done
    start = sum(size for size, _ in parts[:done])
    for size, expected in parts[done:]:
        digest = hashlib.sha256()
        for block in found.blocks(start, size):
            digest.update(block)
            whole.update(block)
        if digest.hexdigest() != expected:
            raise IntegrityFailure(
                f"part {done + 1} reads back as {digest.hexdigest()}, it should be {expected}",
                operation="reading back",
                resource=f"{found.vault.name}:{found.key}",
            )
        start += size
        done += 1
        if stop():
            break
    read_all = begun == 0 and done == len(parts)
    return Verified(done, whole.hexdigest() if read_all else None)


def check_whole(expected: str | None, verified: Verified, who: str, where: str) -> None:
    """Compare the SHA-256 of the whole that `who` claims with what was read.

    Raises:
        IntegrityFailure: they differ.
    """
    if expected is not None and verified.sha256 not in (None, expected):
        raise IntegrityFailure(
            f"the whole reads back as {verified.sha256}, {who} says {expected}; the parts are right",
            operation="reading back",
            resource=where,
        )

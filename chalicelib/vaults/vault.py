"""What every vault guarantees, whatever keeps its bytes; `tests/vaults` holds every kind of vault to it.

A vault is a flat map from keys to bytes. Keys are made by `layout`; nothing else invents one. Errors are
ours: `VaultMissing` when the bucket or container does not exist, `NotFound` for a key, `Denied` for
credentials, `Unavailable` when the store did not answer, `IntegrityFailure` when bytes are not what was
written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it."""

    key: str
    size_bytes: int


class Vault(Protocol):
    """A place recovery points are kept."""

    @property
    def name(self) -> str:
        """The vault's name in the settings and in plans."""

    def put(self, key: str, data: bytes) -> None:
        """Store the whole of `data`, replacing what was there.

        Durable when it returns; a reader sees the old bytes or the new ones, never a mixture and never a
        part.

        Raises:
            IntegrityFailure: the store says it holds other bytes than these.
        """

    def get(self, key: str) -> bytes:
        """Fetch a whole object that fits in memory (a manifest, a segment).

        Raises:
            NotFound: there is no such object.
        """

    def read(self, key: str, start: int, length: int) -> bytes:
        """Fetch exactly `length` bytes from offset `start`; `length` is at least 1.

        Raises:
            NotFound: there is no such object.
            IntegrityFailure: the object does not reach that far.
        """

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes, None when there is none; a missing vault raises."""

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """List every object whose key starts with `prefix` and comes behind `after`, each once, in the order
        of their keys; an incomplete listing raises."""

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is deleted already."""

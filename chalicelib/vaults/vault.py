"""What every kind of vault guarantees; `tests/vaults` checks all of them.

A vault is a flat map from keys to bytes. Keys are made by `layout` only. Errors are ours: `VaultMissing` when
the bucket or container does not exist, `NotFound` for a key, `Denied` for credentials, `Unavailable` when the
store did not answer, `IntegrityFailure` when bytes are not those that were written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object, as a listing shows it."""

    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload of an object in parts that is neither finished nor aborted."""

    key: str
    id: str


class Uploads(Protocol):
    """What a vault keeps of unfinished uploads."""

    def uploads_after(self, marker: tuple[str, str] | None, size: int) -> tuple[tuple[Upload, ...], bool]:
        """Return at most `size` uploads after the one with this key and id, and whether there are more."""

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Remove an upload and its parts; it succeeds if there is none."""


class Vault(Protocol):
    """A place in which recovery points are kept."""

    @property
    def uploads(self) -> Uploads | None:
        """What it keeps of unfinished uploads; None where objects are only stored whole."""

    @property
    def name(self) -> str:
        """The vault's name in the settings and in plans."""

    def put(self, key: str, data: bytes) -> None:
        """Store the whole of `data`, replacing what was there.

        The object is durable on return; a reader sees the old bytes or the new ones, never a mixture or a
        part.

        Raises:
            IntegrityFailure: the store reports other bytes than these.
        """

    def get(self, key: str) -> bytes:
        """Return a whole object that fits in memory (a manifest, a segment).

        Raises:
            NotFound: there is no such object.
        """

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from offset `start`; `length` is at least 1.

        Raises:
            NotFound: there is no such object.
            IntegrityFailure: the object does not reach that far.
        """

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes; None if there is no such object. A missing vault raises."""

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Yield every object whose key starts with `prefix` and sorts after `after`, once, in the order of
        keys.

        A listing that cannot be completed raises.
        """

    def delete(self, key: str) -> None:
        """Delete an object; it succeeds if there is none."""

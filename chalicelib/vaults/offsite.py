"""A vault in another cloud, in any storage that libcloud supports. libcloud is imported when one is opened.

Errors of libcloud and of the network are translated into ours by their types. Invariant: an object that `put`
stored has been checked, against the provider's own hash of it or by reading it back.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chalicelib.errors import (
    Denied,
    FarshoreError,
    IntegrityFailure,
    NotFound,
    Permanent,
    Unavailable,
    VaultMissing,
)
from chalicelib.vaults.vault import StoredObject

if TYPE_CHECKING:
    from chalicelib.vaults.offsite_stores import Store


class OffsiteVault:
    """One container. Threads may share it: each call uses a driver of its own, made when none is idle."""

    def __init__(
        self, name: str, provider: str, container: str, open_store: Callable[[], "Store"], first: "Store"
    ) -> None:
        self.name = name
        self.provider = provider
        self.container = container
        self._open_store = open_store
        self._idle: deque[Store] = deque([first])
        self.uploads = None

    def put(self, key: str, data: bytes) -> None:
        """Store the whole of `data`, and check that the provider has stored it."""
        with self._reaching("PUT", key) as store:
            stored_md5 = store.put(key, data)
        if stored_md5 is None:
            self._compare(key, data)

    def get(self, key: str) -> bytes:
        """Return a whole object."""
        with self._reaching("GET", key) as store:
            return store.get(key)

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from offset `start`."""
        try:
            with self._reaching("GET", key) as store:
                data = store.read(key, start, length)
        except (Permanent, Unavailable) as exc:
            # Drivers report a range beyond the end in many ways, or not at all.
            size = self.size(key)
            if size is None or size >= start + length:
                raise
            raise self._too_short(key, start + length) from exc
        if len(data) != length:
            raise self._too_short(key, start + length)
        return data

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes; None if there is no such object."""
        with self._reaching("HEAD", key) as store:
            size = store.size(key)
            if size is None:
                store.require_container()
            return size

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Yield every object whose key starts with `prefix` and sorts after `after`, in the order of keys.

        libcloud cannot begin a listing in its middle, so what comes before is read, too.
        """
        with self._reaching("listing", prefix) as store:
            for stored in store.list(prefix):
                if stored.key > after:
                    yield stored

    def delete(self, key: str) -> None:
        """Delete an object; it succeeds if there is none."""
        try:
            with self._reaching("DELETE", key) as store:
                deleted = store.delete(key)
        except NotFound:
            return
        if not deleted:
            raise self._error(Unavailable, "the provider did not delete it", "DELETE", key)

    def _compare(self, key: str, data: bytes) -> None:
        size = self.size(key)
        if size == len(data) and (not data or self.read(key, 0, size) == data):
            return
        raise self._error(
            IntegrityFailure,
            f"{len(data)} bytes with SHA-256 {hashlib.sha256(data).hexdigest()} were sent, others are stored",
            "PUT",
            key,
        )

    def _too_short(self, key: str, end: int) -> FarshoreError:
        return self._error(IntegrityFailure, f"it ends before byte {end}", "GET", key)

    @contextmanager
    def _reaching(self, operation: str, key: str) -> Iterator["Store"]:
        """Lend a store to one call, and translate what it raises into our errors."""
        from chalicelib.vaults.offsite_errors import RAISED, kind_of, reason_of

        # A store that raised is not used again: its connection may be in the middle of an answer.
        store = self._take()
        try:
            yield store
        except RAISED as exc:
            kind = kind_of(exc)
            if kind is NotFound and not _has_container(store):
                kind = VaultMissing
            raise self._error(kind, reason_of(exc), operation, key) from exc
        else:
            self._idle.append(store)

    def _take(self) -> "Store":
        try:
            return self._idle.pop()
        except IndexError:
            return self._open_store()

    def _error(self, kind: type[FarshoreError], why: str, operation: str, key: str) -> FarshoreError:
        if kind is VaultMissing:
            why = f"vault {self.name} has no container {self.container} at provider {self.provider}"
        elif kind is NotFound:
            why = "there is no such object"
        return kind(why, operation=operation, resource=f"{self.name}:{key}")


def open_offsite(
    name: str, *, provider: str, container: str, options: Mapping[str, Any], credentials: Mapping[str, Any]
) -> OffsiteVault:
    """Return a container of any libcloud storage provider; no request is made yet.

    `options` and `credentials` (`key`, `secret` ...) are the arguments of the provider's driver.

    Raises:
        VaultMissing: libcloud has no such provider, or the folder of a LOCAL one does not exist.
        Denied: the credentials do not have the form that the driver wants.
    """
    from libcloud.common.types import LibcloudError
    from libcloud.storage.providers import DRIVERS, get_driver

    from chalicelib.vaults.offsite_stores import store_for

    where = f"vault {name}, provider {provider}, container {container}"
    if provider.lower() not in DRIVERS:
        raise VaultMissing(
            f"libcloud has no storage provider {provider!r}; it has {', '.join(sorted(DRIVERS))}",
            operation="opening",
            resource=where,
        )

    def open_store() -> "Store":
        return store_for(get_driver(provider.lower())(**options, **credentials), container)

    try:
        first = open_store()
    except LibcloudError as exc:
        raise VaultMissing(str(exc.value), operation="opening", resource=where) from exc
    except ImportError as exc:
        raise VaultMissing(f"its driver lacks a library: {exc}", operation="opening", resource=where) from exc
    except (TypeError, ValueError) as exc:
        raise Denied(
            f"its driver does not take these credentials and options: {exc}",
            operation="opening",
            resource=where,
        ) from exc
    return OffsiteVault(name, provider, container, open_store, first)


def _has_container(store: "Store") -> bool:
    from libcloud.storage.types import ContainerDoesNotExistError

    try:
        store.require_container()
    except ContainerDoesNotExistError:
        return False
    return True

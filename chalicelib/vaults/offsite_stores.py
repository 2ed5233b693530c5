"""Makes libcloud's drivers fulfil the promises of a vault: one general way, and two for special drivers.

Imports libcloud, so only `offsite` imports this, when an off-site vault is first opened. Keys come from
`layout` and need no quoting anywhere.

Invariant: `put` returns the MD5 that the provider computed of what it stored, or None if the provider gives
none that can be trusted; then the caller reads the object back.
"""

import base64
import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from libcloud.common.exceptions import BaseHTTPError
from libcloud.storage.base import Container, Object, StorageDriver
from libcloud.storage.drivers.azure_blobs import AzureBlobsStorageDriver
from libcloud.storage.drivers.cloudfiles import CloudFilesStorageDriver
from libcloud.storage.types import (
    ContainerDoesNotExistError,
    ObjectDoesNotExistError,
    ObjectHashMismatchError,
)

from chalicelib.vaults.vault import StoredObject

CHUNK_BYTES = 4 * 1024 * 1024
CONTENT_TYPE = "application/octet-stream"
# Put Blob of the API version that libcloud speaks, 2018-11-09.
# https://learn.microsoft.com/en-us/rest/api/storageservices/put-blob#remarks
AZURE_PUT_BYTES = 256 * 1024 * 1024


class Store:
    """Any driver, through libcloud's own interface."""

    def __init__(self, driver: StorageDriver, container: str) -> None:
        self.driver = driver
        self.container = container

    def require_container(self) -> Container:
        """Return the container; raises when it does not exist."""
        return self.driver.get_container(self.container)

    def put(self, key: str, data: bytes) -> str | None:
        """Upload from memory, the only kind of stream that every driver handles correctly."""
        self.driver.upload_object_via_stream(
            io.BytesIO(data), self.require_container(), key, extra={"content_type": CONTENT_TYPE}
        )
        return None

    def get(self, key: str) -> bytes:
        """Return an object, after checking that it is complete."""
        found = self.driver.get_object(self.container, key)
        data = b"".join(self.driver.download_object_as_stream(found, chunk_size=CHUNK_BYTES))
        if len(data) != found.size:
            raise ObjectHashMismatchError(f"{len(data)} of {found.size} bytes came", self.driver, key)
        return data

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return a range, which may be short; libcloud's `end_bytes` is exclusive."""
        chunks = self.driver.download_object_range_as_stream(
            self._named(key), start, end_bytes=start + length, chunk_size=CHUNK_BYTES
        )
        return b"".join(chunks)

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes; None if there is no such object."""
        try:
            return int(self.driver.get_object(self.container, key).size)
        except ObjectDoesNotExistError:
            return None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield objects, page after page."""
        for found in self.driver.iterate_container_objects(self.require_container(), prefix=prefix):
            yield StoredObject(found.name, int(found.size))

    def delete(self, key: str) -> bool:
        """Delete an object; False when the driver says that it did not."""
        return bool(self.driver.delete_object(self._named(key)))

    def _named(self, key: str) -> Object:
        container = Container(self.container, {}, self.driver)
        return Object(key, 0, "", {}, {}, container, self.driver)


class RequestStore(Store):
    """Azure and Swift: a whole object in one request that the driver signs.

    The drivers' own uploads read a stream in small pieces and are limited by the interpreter lock (26 to 206
    MiB/s; this way 250 to 300), and Swift's fails on generators. Azure's `get_object` reports any refusal as
    absence.
    """

    def put(self, key: str, data: bytes) -> str | None:
        """Upload in one request, with an MD5 that the server checks before it stores the object."""
        if len(data) > AZURE_PUT_BYTES:
            return super().put(key, data)
        digest = hashlib.md5(data, usedforsecurity=False)
        headers = {"Content-Type": CONTENT_TYPE, **self._put_headers(digest.digest())}
        if data:  # Azure signs the length of an empty body as "", not as 0
            headers["Content-Length"] = str(len(data))
        answer = self._request(key, "PUT", data=data, headers=headers)
        if answer.status == 404:
            raise ContainerDoesNotExistError(None, self.driver, self.container)
        if answer.status != 201:
            raise BaseHTTPError(answer.status, str(answer.body))
        return digest.hexdigest()

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes; None only if the answer is 404."""
        answer = self._request(key, "HEAD")
        if answer.status == 404:
            return None
        if answer.status not in (200, 204):
            raise BaseHTTPError(answer.status, "HEAD was refused")
        return int(answer.headers["content-length"])

    def _request(self, key: str, method: str, **arguments: Any) -> Any:
        return self.driver.connection.request(f"/{self.container}/{key}", method=method, **arguments)

    def _put_headers(self, md5: bytes) -> dict[str, str]:
        if isinstance(self.driver, CloudFilesStorageDriver):
            # https://docs.openstack.org/api-ref/object-store/#create-or-replace-object
            return {"ETag": md5.hex()}
        return {"x-ms-blob-type": "BlockBlob", "Content-MD5": base64.b64encode(md5).decode()}


class FolderStore(Store):
    """libcloud's LOCAL: a folder, with the driver's layout, written so that a failed put is never visible.

    The driver itself writes under the object's own name, leaves a partial file when it fails, reads the whole
    file for every range, and its listing fails when a file disappears meanwhile.
    """

    def put(self, key: str, data: bytes) -> str | None:
        """Write the file in a folder that the driver never lists, then rename it."""
        root = self._root()
        written = root / ".lock" / uuid.uuid4().hex
        target = root / key
        written.parent.mkdir(exist_ok=True)
        try:
            with written.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            written.replace(target)
        finally:
            written.unlink(missing_ok=True)
        _sync_folder(target.parent)
        return None

    def get(self, key: str) -> bytes:
        """Return a whole file."""
        with self._open(key) as file:
            return file.read()

    def read(self, key: str, start: int, length: int) -> bytes:
        """Return a range, which may be short."""
        with self._open(key) as file:
            file.seek(start)
            return file.read(length)

    def size(self, key: str) -> int | None:
        """Return a file's size in bytes; None if there is no such file."""
        path = self._root() / key
        return path.stat().st_size if path.is_file() else None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield files, in the order of keys."""
        root = self._root()
        keys = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        for key in keys:
            if key.startswith(prefix) and not key.startswith(".lock/"):
                yield StoredObject(key, (root / key).stat().st_size)

    def delete(self, key: str) -> bool:
        """Delete a file and the folders that it leaves empty."""
        root = self._root()
        path = root / key
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == root or not _remove_if_empty(folder):
                break
        return True

    def _root(self) -> Path:
        return Path(self.driver.get_container_cdn_url(self.require_container()))

    def _open(self, key: str) -> io.BufferedReader:
        try:
            return (self._root() / key).open("rb")
        except (FileNotFoundError, IsADirectoryError) as exc:
            raise ObjectDoesNotExistError(None, self.driver, key) from exc


def store_for(driver: StorageDriver, container: str) -> Store:
    """Return the store that fits a driver."""
    if isinstance(driver, (AzureBlobsStorageDriver, CloudFilesStorageDriver)):
        return RequestStore(driver, container)
    # Its module cannot be imported where fasteners is not installed, as in Lambda.
    if type(driver).__name__ == "LocalStorageDriver":
        return FolderStore(driver, container)
    return Store(driver, container)


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""`python -m benchmarks.contestants plain|durable|move SOURCE SIZE TARGET`: carries a file once.

`SOURCE` is a file, or for `move` the URL of an S3 endpoint, `TARGET` an empty folder. What is
imported and opened before the first byte is not in the seconds.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

from chalicelib.aws.clients import Clients
from chalicelib.vaults.layout import segment_key, segments
from chalicelib.vaults.offsite import open_offsite
from chalicelib.vaults.s3 import S3Vault
from chalicelib.vaults.transfer import move, segment_bytes

BUCKET, KEY, REGION = "bench", "data", "eu-central-1"
CHUNK_BYTES = 1024 * 1024


def plain(source: str, _: int, target: Path) -> float:
    """Read, hash and write, in one loop: what one process cannot do without."""
    start = perf_counter()
    digest = hashlib.sha256()
    with Path(source).open("rb") as reader, (target / KEY).open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
    digest.hexdigest()
    return perf_counter() - start


def durable(source: str, size_bytes: int, target: Path) -> float:
    """The same by segments, each forced to disk, read back and compared: what `Vault.put` promises."""
    start = perf_counter()
    with Path(source).open("rb") as reader:
        for piece in segments(size_bytes):
            data = reader.read(piece.size_bytes)
            digest = hashlib.sha256(data).digest()
            written = target / str(piece.number)
            with written.open("wb") as writer:
                writer.write(data)
                writer.flush()
                os.fsync(writer.fileno())
            if hashlib.sha256(written.read_bytes()).digest() != digest:
                raise RuntimeError(f"segment {piece.number} is not what was written")
    return perf_counter() - start


def farshore(source: str, size_bytes: int, target: Path) -> float:
    """Move segment after segment from an S3 vault into a LOCAL one, as the copy job does."""
    os.environ |= {"AWS_ENDPOINT_URL": source, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    primary = S3Vault("primary", Clients(REGION).s3(REGION), BUCKET, REGION)
    (target / "vault").mkdir()
    to = open_offsite(
        "offsite", provider="local", container="vault", options={}, credentials={"key": str(target)}
    )
    todo = tuple(segments(size_bytes, segment_bytes(size_bytes)))
    start = perf_counter()
    while todo:
        moved = move(
            todo,
            read=lambda piece: primary.read(KEY, piece.start, piece.size_bytes),
            write=lambda piece, data: to.put(segment_key("", piece.number), data),
            stop=lambda: False,
        )
        todo = todo[len(moved) :]
    return perf_counter() - start


CONTESTANTS: Mapping[str, Callable[[str, int, Path], float]] = {
    "plain": plain,
    "durable": durable,
    "move": farshore,
}

if __name__ == "__main__":
    name, source, size, target = sys.argv[1:]
    sys.stdout.write(f"{CONTESTANTS[name](source, int(size), Path(target))}\n")

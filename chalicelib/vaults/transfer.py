"""Copies a file between vaults in pieces, several at once, in memory that does not grow with the file.

A piece is read, hashed and written as a whole. Pieces are independent, so only those that failed are copied
again.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chalicelib.errors import FarshoreError
from chalicelib.vaults.layout import MIB, SEGMENT_BYTES, Segment

# The memory of all threads together; a piece is in memory twice while a driver makes a request of it.
MEMORY_BYTES = 64 * MIB
MOST_THREADS = 8
# Pieces copied before progress is recorded; after a crash these are copied again.
PIECES_AT_ONCE = 64
# A job's record holds a hash for each piece, and a DynamoDB item at most 400 KB.
MOST_PIECES = 1_000


@dataclass(frozen=True, slots=True)
class Moved:
    """One piece that was copied."""

    number: int
    size_bytes: int
    sha256: str


def segment_bytes(size_bytes: int) -> int:
    """Return the size of a file's segments: 16 MiB, or more (whole MiB) to have at most 1,000 of them."""
    needed = -(-size_bytes // MOST_PIECES)
    return max(SEGMENT_BYTES, -(-needed // MIB) * MIB)


def move(
    pieces: Sequence[Segment],
    read: Callable[[Segment], bytes],
    write: Callable[[Segment, bytes], None],
    stop: Callable[[], bool],
) -> tuple[Moved, ...]:
    """Copy the first pieces, at least one, until all or `PIECES_AT_ONCE` are copied or `stop()` is true.

    Returns: the copied pieces, in order and without a gap. If one fails, those before it are returned.

    Raises:
        FarshoreError: the first piece could not be copied.
    """

    def one(piece: Segment) -> Moved:
        data = read(piece)
        write(piece, data)
        return Moved(piece.number, len(data), hashlib.sha256(data).hexdigest())

    largest = max(piece.size_bytes for piece in pieces)
    threads = max(1, min(MOST_THREADS, MEMORY_BYTES // largest))
    moved: list[Moved] = []
    with ThreadPoolExecutor(threads) as pool:
        for batch in _batches(pieces[:PIECES_AT_ONCE], threads):
            results = [pool.submit(one, piece) for piece in batch]
            for result in results:
                try:
                    moved.append(result.result())
                except FarshoreError:
                    if not moved:
                        raise
                    return tuple(moved)
            if stop():
                break
    return tuple(moved)


def _batches(pieces: Sequence[Segment], size: int) -> Iterator[Sequence[Segment]]:
    for start in range(0, len(pieces), size):
        yield pieces[start : start + size]

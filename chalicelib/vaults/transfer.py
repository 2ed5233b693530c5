"""Moves a file between vaults in pieces, several at once, in memory that does not grow with the file.

A piece is read, hashed and written whole; pieces are independent, so one that failed is moved again alone.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chalicelib.errors import FarshoreError
from chalicelib.vaults.layout import MIB, SEGMENT_BYTES, Segment

# What all threads together may hold; a piece is held twice while a provider's library makes a request of it.
MEMORY_BYTES = 64 * MIB
MOST_THREADS = 8
# Pieces moved before progress is recorded: what a crash makes the next worker move again.
PIECES_AT_ONCE = 64
# A job's record holds a hash for each piece, and DynamoDB an item of 400 KB.
MOST_PIECES = 1_000


@dataclass(frozen=True, slots=True)
class Moved:
    """One piece that has arrived."""

    number: int
    size_bytes: int
    sha256: str


def segment_bytes(size_bytes: int) -> int:
    """Return the size of the segments of a file: 16 MiB, or what makes 1,000 of it, in whole MiB."""
    needed = -(-size_bytes // MOST_PIECES)
    return max(SEGMENT_BYTES, -(-needed // MIB) * MIB)


def move(
    pieces: Sequence[Segment],
    read: Callable[[Segment], bytes],
    write: Callable[[Segment, bytes], None],
    stop: Callable[[], bool],
) -> tuple[Moved, ...]:
    """Move the first pieces, at least one, until all are moved, `PIECES_AT_ONCE` are, or `stop` says so.

    Returns: the pieces moved, in order and without a gap. When one fails, those before it count as moved.

    Raises:
        FarshoreError: the first piece could not be moved.
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

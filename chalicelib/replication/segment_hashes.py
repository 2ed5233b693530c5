"""Stores the hashes of the segments that a copy has sent, in records of their own: jobs stay small."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.store import REMEMBERED


class SegmentHashes:
    """Writes and reads the hashes of a job's segments, in the order in which they were sent."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def adding(self, job_id: str, first: int, hashes: Sequence[tuple[int, str]], now: datetime) -> Write:
        """Return the write that stores the (size in bytes, SHA-256) of segments from number `first` on."""
        forgotten_at = int((now + REMEMBERED).timestamp())
        put = {"format": 1, "hashes": json.dumps(hashes), "expires_at": forgotten_at}
        return Write((f"segments#{job_id}", f"{first:09d}"), put=put)

    def of_job(self, job_id: str) -> Iterator[tuple[int, str]]:
        """Yield the (size in bytes, SHA-256) of every segment."""
        for record in self._table.partition(f"segments#{job_id}"):
            yield from json.loads(record["hashes"])

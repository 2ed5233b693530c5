"""The instances of a large service, in records of some thousand ids, so that no job carries them all.

Invariant: a list is stored under the hash of its ids before a job refers to it, so it never changes.
"""

import json
from collections.abc import Sequence

from chalicelib.aws.batches import in_batches
from chalicelib.catalog.store.table import Table
from chalicelib.ids import fingerprint

IDS_PER_RECORD = 2_000


class InstanceLists:
    """Stores and reads lists of instance ids."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, instances: Sequence[str]) -> str:
        """Store a list; return its name."""
        name = name_of(instances)
        self._table.put_all(
            {"pk": f"instances#{name}", "sk": f"{number:06d}", "format": 1, "ids": json.dumps(ids)}
            for number, ids in enumerate(in_batches(sorted(set(instances)), IDS_PER_RECORD))
        )
        return name

    def get(self, name: str) -> tuple[str, ...]:
        """Return the ids of a list, in order."""
        records = self._table.partition(f"instances#{name}")
        return tuple(instance for record in records for instance in json.loads(record["ids"]))


def name_of(instances: Sequence[str]) -> str:
    """Return the name of a list: the same ids always have the same one."""
    return fingerprint(*sorted(set(instances)))

"""Opens inventories: one a day (UTC) for each region, each vault and the catalog, and whenever asked.

When the next is due is a record in the index that shows ticks what is due, so that an idle tick asks nothing
more. Invariant: jobs are opened, under ids made of the day, before the next day's is scheduled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.catalog.location import Location
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.wake import INVENTORY, waking
from chalicelib.catalog.store.writes import Attr, Write
from chalicelib.errors import InvalidInput, Problem
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import JobId
from chalicelib.jobs.tick import DueWork
from chalicelib.jobs.work import inventory_request

# Past the turn of the day, when most schedules are due.
TIME_OF_DAY = timedelta(hours=1, minutes=40)


@dataclass(frozen=True, slots=True)
class Inventories:
    """Opens the inventories of all places."""

    engine: Engine
    table: Table
    places: tuple[Location, ...]
    now: Callable[[], datetime]

    def schedule(self) -> None:
        """Have an inventory taken every day, from the next one on; what is scheduled already stays."""
        at = next_at(self.now())
        put = {"format": 1, **waking(at)}
        self.table.commit([Write(INVENTORY, put=put, condition=Attr("pk").not_exists())])

    def run(self, due: DueWork) -> None:
        """Open the day's inventories when they are due, and schedule the next day's."""
        if not due.inventory:
            return
        now = self.now()
        self.open(f"{now:%Y-%m-%d}")
        self.table.commit([Write(INVENTORY, sets=waking(next_at(now)))])

    def _places_of(self, region: str | None, vault: str | None) -> tuple[Location, ...]:
        """Return the place of this region or of this vault; all of them when neither is named.

        Raises:
            InvalidInput: both are named, or one that there is none of.
        """
        if region is not None and vault is not None:
            expected = "a region or a vault, not both"
            raise InvalidInput("the inventory request", [Problem("/vault", vault, expected)])
        for name, wanted in (("region", region), ("vault", vault)):
            there = {getattr(place, name): place for place in self.places if getattr(place, name)}
            if wanted is not None and wanted not in there:
                expected = f"one of {', '.join(sorted(there))}"
                raise InvalidInput("the inventory request", [Problem(f"/{name}", wanted, expected)])
            if wanted is not None:
                return (there[wanted],)
        return self.places

    def open(self, cause: str, region: str | None = None, vault: str | None = None) -> tuple[JobId, ...]:
        """Open an inventory of a region or a vault, or of all places; those of one cause are opened once.

        Raises:
            InvalidInput: both are named, or one that there is none of.
        """
        places = self._places_of(region, vault)
        now = self.now()
        return self.engine.open([inventory_request(place, cause, now) for place in places])


def next_at(now: datetime) -> datetime:
    """Return when the next inventory is due. Pure."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0) + TIME_OF_DAY
    return today if today > now else today + timedelta(days=1)

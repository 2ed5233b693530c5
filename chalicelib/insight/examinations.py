"""Begins what examines a stage by doing something: a probe of each vault, an event from each other region.

`GET /doctor` reports how they ended. Nothing here waits for that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.aws.event_bus import EventBus
from chalicelib.aws.events import ROUND_TRIP, ROUND_TRIP_SOURCE, round_trip_detail
from chalicelib.catalog.store.examinations import ExaminationStore
from chalicelib.errors import FarshoreError
from chalicelib.ids import fingerprint
from chalicelib.insight.doctor_view import StageFacts
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.work import probe_request


@dataclass(frozen=True, slots=True)
class Examinations:
    """Begins examinations. `bus` returns the event bus of a region."""

    stage: StageFacts
    engine: Engine
    store: ExaminationStore
    bus: Callable[[str], EventBus]
    now: Callable[[], datetime]

    def begin(self, cause: str) -> dict[str, str]:
        """Send an event from each other region, and open a probe of each vault; return the probes' jobs.

        A region that refuses the event hinders nothing: the refusal is recorded.
        """
        for region in self.stage.away:
            self._send(region, fingerprint(self.stage.deployment, region, cause, digits=32))
        vaults = sorted(self.stage.vaults)
        jobs = self.engine.open([probe_request(vault, cause, self.now()) for vault in vaults])
        probes = dict(zip(vaults, map(str, jobs), strict=True))
        for vault, job in probes.items():
            self.store.note_probe(vault, job)
        return probes

    def _send(self, region: str, token: str) -> None:
        now = self.now()
        self.store.note_sent(region, token, now)
        try:
            self.bus(region).put(ROUND_TRIP_SOURCE, ROUND_TRIP, round_trip_detail(token))
        except FarshoreError as error:
            self.store.note_sent(region, token, now, refused=str(error))

"""Heals copy slots: compares their holders with the catalog and with the copies that EC2 has pending.

Invariant: a slot is only ever freed of a job that is over. A job whose copy has ended without an event is
poked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chalicelib.aws.ec2 import Ec2
from chalicelib.errors import FarshoreError
from chalicelib.jobs.claims import Claims
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import job_of_mark
from chalicelib.jobs.tick import DueWork
from chalicelib.observability import COPY_SLOTS_HEALED, SLOTS_NOT_HEALED, count, logger


@dataclass(frozen=True, slots=True)
class SlotHealer:
    """Heals the slots of the regions that snapshots are copied into."""

    engine: Engine
    claims: Claims
    ec2: Callable[[str], Ec2]
    regions: Sequence[str]

    def run(self, due: DueWork) -> None:
        """Heal the slots of every region while there are jobs.

        A region that does not answer or refuses the call is left for the next tick.
        """
        for region in self.regions if due.jobs else ():
            try:
                self.heal(region)
            except FarshoreError as error:
                logger().warning("copy slots not checked", extra={"region": region, "error": str(error)})
                count(SLOTS_NOT_HEALED, region=region)

    def heal(self, region: str) -> None:
        """Free the slots of jobs that are over; poke idle holders, and jobs that wait for a slot."""
        held = self.claims.slots(region)
        if not held:
            return
        states = self.engine.jobs.states({claim.job for claim in held})
        over = [claim for claim in held if claim.job not in states or states[claim.job].final]
        for claim in over:
            self.claims.heal(claim)
        pending = {job_of_mark(each.description) for each in self.ec2(region).snapshots_pending()}
        idle = {claim.job for claim in held if claim not in over and claim.job not in pending}
        waiting = self.claims.next_waiting(region, len(over)) if over else ()
        self.engine.queue.poke_all(sorted({*idle, *waiting}))
        if over:
            count(COPY_SLOTS_HEALED, len(over), region=region)

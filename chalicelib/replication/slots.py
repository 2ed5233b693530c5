"""Heals copy slots: compares who holds one with the catalog, and with what EC2 says is pending.

Invariant: a slot is taken from a job that is over and from no other; a job whose copy has ended without its
knowing is poked.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chalicelib.aws.ec2 import Ec2
from chalicelib.jobs.claims import Claims
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import job_of_mark
from chalicelib.observability import count


@dataclass(frozen=True, slots=True)
class SlotHealer:
    """Heals the slots of the destination regions."""

    engine: Engine
    claims: Claims
    ec2: Callable[[str], Ec2]

    def heal(self, regions: Iterable[str]) -> None:
        """Free the slots of jobs that are over, poke those that hold one for no pending copy, and those that
        wait."""
        for region in regions:
            held = self.claims.slots(region)
            if not held:
                continue
            states = self.engine.jobs.states({claim.job for claim in held})
            over = [claim for claim in held if claim.job not in states or states[claim.job].final]
            for claim in over:
                self.claims.heal(claim)
            pending = {job_of_mark(each.description) for each in self.ec2(region).snapshots_pending()}
            idle = {claim.job for claim in held if claim not in over and claim.job not in pending}
            waiting = self.claims.next_waiting(region, len(over)) if over else ()
            self.engine.queue.poke_all(sorted({*idle, *waiting}))
            if over:
                count("CopySlotsHealed", len(over), region=region)

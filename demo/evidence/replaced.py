"""Act 3's evidence: what the old instance saved at its end is what the new one began with."""

from dataclasses import dataclass, field
from pathlib import Path

from demo import database, scene
from demo.claims import Claims
from demo.evidence.made import Notes, script_notes
from demo.farshore import Document
from demo.ground import DemoCloud
from demo.group import IN_SERVICE, Group

WAITS = "Pending:Wait"


@dataclass(slots=True)
class Replacement:
    """A replacement under way, as it is seen from outside: the group, and the disks of both instances."""

    ground: DemoCloud
    group: Group
    old: str
    new: str = ""
    notes: Notes = field(default_factory=dict)
    """What the backup script had noted on the old instance's disk when that was last there."""
    states: list[str] = field(default_factory=list)
    """The lifecycle states of the new instance, in the order in which they were seen."""

    def look(self) -> bool:
        """Look once, put the image's scripts on the new instance, and return whether that is in service."""
        disks = self.ground.control.get("/instances")
        if self.old in disks:
            self.notes = script_notes(Path(disks[self.old]))
        states = self.group.states()
        for instance in states.keys() - {self.old}:
            if not self.new and instance in disks:
                scene.install_scripts(Path(disks[instance]))
                self.new = instance
        state = states.get(self.new, "")
        if state not in ("", *self.states[-1:]):
            self.states.append(state)
        return state == IN_SERVICE and self.old not in states


def check_saved(claims: Claims, replacement: Replacement, point: Document, job: str) -> None:
    """Check that the old instance's last backup was made by its own script, because it was to go."""
    made = point["origin"] == "termination" and job in replacement.notes
    claims.check(
        "its group ends the instance, which is backed up first", made, f"{replacement.old}, by {job}"
    )


def check_came_up(claims: Claims, replacement: Replacement, folder: Path, job: str, rows: int) -> None:
    """Compare the new instance's database with what the old one's script noted, and with what had come in."""
    sha256, copied = replacement.notes.get(job, ("nothing", 0))
    found = database.read(folder / "orders.db")
    name = "the next instance has what the last one saved, byte for byte"
    claims.same(name, sha256, found.sha256, f"{replacement.new}, SHA-256 {sha256[:16]}...")
    claims.same("no order is lost", (rows, rows), (copied, found.rows), f"{rows:,} orders")
    waited = WAITS in replacement.states and replacement.states[-1] == IN_SERVICE
    seen = ", then ".join(replacement.states)
    claims.check("the group kept it out of service until then", waited, seen)


def check_address(claims: Claims, replacement: Replacement, before: str | None, after: str | None) -> None:
    """Check that the Elastic IP led to the old instance, and leads to the new one."""
    expected = (replacement.old, replacement.new)
    claims.same("its Elastic IP has moved", expected, (before, after), f"{before} to {after}")

"""What the acts share: the local cloud, the scene, and what the end of the story needs."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from demo.claims import Claims
from demo.database import OrderEntry
from demo.farshore import Document, Farshore
from demo.files import Tree
from demo.ground import DemoCloud
from demo.report import Report
from demo.scene import Scene
from demo.telling import Teller
from demo.watch import Watch

PLANS: dict[str, Document] = {
    name: json.loads((Path(__file__).parent / "plans" / f"{name}.json").read_text())
    for name in ("orders", "files")
}
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TICK = 5 * MINUTE
"""How often the app checks what is due."""


@dataclass(slots=True)
class DemoStage:
    """One run of the story. `scratch` is a folder for copies to examine."""

    ground: DemoCloud
    farshore: Farshore
    teller: Teller
    claims: Claims
    report: Report
    scene: Scene
    watch: Watch
    orders: OrderEntry
    scratch: Path
    began: datetime
    trees: dict[datetime, dict[str, Tree]] = field(default_factory=dict)
    """The contents of each volume at the midnights, by volume id."""

    @property
    def midnight(self) -> datetime:
        """Return when the first night begins."""
        return self.began.replace(hour=0, minute=0, second=0, microsecond=0) + DAY

    def say(self, text: str) -> None:
        """Show something that happens now."""
        self.teller.say(self.ground.now(), text)

    def points(self, service: str, rule: str) -> list[Document]:
        """Return the recovery points of a rule, newest first."""
        found = self.farshore.points(service=service, rule=rule)
        return sorted(found, key=lambda each: str(each["nominal_at"]), reverse=True)

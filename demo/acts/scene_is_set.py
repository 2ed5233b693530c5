"""Act 1: two services on three instances in the home region, with data that changes all the time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.claims import Claims
from demo.database import OrderEntry
from demo.farshore import Farshore
from demo.files import MIB
from demo.ground import HOME, DemoCloud
from demo.listener import Listener
from demo.report import Report
from demo.scene import Scene
from demo.stage import DAY, DemoStage
from demo.telling import Teller
from demo.watch import Watch

LEAST_BYTES = 64 * MIB


@contextmanager
def set_stage(
    ground: DemoCloud, teller: Teller, claims: Claims, report: Report, scratch: Path
) -> Iterator[DemoStage]:
    """Launch the instances at the next noon; orders come in for as long as the context lasts."""
    teller.act(1, "Two services on three instances, with real data")
    noon = ground.now().replace(hour=12, minute=0, second=0, microsecond=0)
    ground.advance_to(noon + DAY * (noon < ground.now()))
    scene, farshore = Scene(ground), Farshore(ground.api)
    scene.build()
    with OrderEntry(scene.directory("orders-1") / "orders.db", seed=1) as orders:
        watch = Watch(ground, farshore, Listener(ground, HOME), teller)
        began = ground.now().replace(microsecond=0)
        yield DemoStage(ground, farshore, teller, claims, report, scene, watch, orders, scratch, began)


def check_scene(stage: DemoStage) -> None:
    """Show the services and check that they have enough data for a serious test."""
    for name, instance in stage.scene.instances.items():
        stage.say(f"{name} runs as {instance} in {HOME}")
    stage.say(f"orders.db has {stage.orders.rows:,} orders, and more come in all the time")
    size = stage.scene.size_bytes
    stage.claims.check("there are 64 MiB of files or more", size >= LEAST_BYTES, f"{size / MIB:.0f} MiB")

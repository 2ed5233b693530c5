"""The story, step by step. What each step does, and what it claims, is in acts/ and evidence/."""

from demo.acts.disaster import check_left_clean, lose_home, restore_orders, restore_volumes, take_stock
from demo.acts.first_night import (
    back_up_now,
    count_idle_ticks,
    send_plans,
    watch_service_backup,
    watch_snapshots,
)
from demo.acts.five_weeks import check_what_is_left, pass_days
from demo.acts.replacement import replace_instance
from demo.acts.scene_is_set import check_scene
from demo.stage import DemoStage


def play(stage: DemoStage) -> None:
    """Play the story to its end, on a stage that is set up."""
    check_scene(stage)

    stage.teller.act(2, "Plans are sent; backups are made and copied")
    send_plans(stage)
    back_up_now(stage)
    count_idle_ticks(stage)
    watch_service_backup(stage)
    watch_snapshots(stage)

    stage.teller.act(3, "The orders' group replaces its instance")
    replace_instance(stage)
    stage.watch.listener.close()

    stage.teller.act(4, f"{stage.report.days} days pass")
    pass_days(stage)
    check_what_is_left(stage)

    stage.teller.act(5, "Disaster: the orders' group and the home bucket are lost")
    take_stock(stage)
    notes = lose_home(stage)
    restore_orders(stage, notes)
    restore_volumes(stage)
    check_left_clean(stage)
    stage.report.calls = stage.ground.calls()

"""What a restore of volumes onto an instance decides. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.aws.ec2 import AttachedVolume, Attachment, Instance, Volume
from chalicelib.aws.ssm import Command
from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.catalog.store.rules import RuleId
from chalicelib.jobs.decision import Do, Fail, Finish, Wait
from chalicelib.jobs.job import ADOPTION_GRACE, LOST_EVENT_AFTER, AnyJob, Budget
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.script_run import (
    AGENT_LOOK,
    AGENT_PATIENCE,
    Adopt,
    Candidates,
    Choose,
    Remove,
    RunSeen,
    ScriptRun,
    Send,
)
from chalicelib.jobs.work import AttachedRestoreWork, attached_restore_request
from chalicelib.on_instance import RESTORE_FAILED
from chalicelib.recovery.attached import (
    ATTACH_PATIENCE,
    DETACH_SOON,
    LOOK_SOON,
    Attach,
    AttachedObservation,
    AttachedProgress,
    AttachedRestore,
    Create,
    Note,
    NoteOutcome,
)
from tests.jobs.made import (
    JUST_NOW,
    LONG_AGO,
    NONE,
    NOON,
    SECOND,
    SNAPSHOT_RULE,
    Says,
    failed,
    intended,
    job_of,
    online,
    point_in,
    refused,
    said,
)

RESTORE = AttachedRestore(NONE, NONE, NONE, NONE, NONE)
MOUNTS = SNAPSHOT_RULE.model_copy(update={"restore": "mount"})
PROVES = MOUNTS.model_copy(update={"verify": "check"})
ONE = SnapshotRef("snap-1", "vol-1", 1, "i-0", "/dev/sdf")
TWO = SnapshotRef("snap-2", "vol-2", 1, "i-0", "/dev/sdg")
BOOT = AttachedVolume("vol-0", "/dev/sda1", boot=True)
HERE = Instance("i-1", "running", "eu-central-1a", {}, (BOOT,))
BOTH: dict[str, Any] = {
    "made": {"snap-1": "vol-a", "snap-2": "vol-b"},
    "devices": {"/dev/sdf": "vol-a", "/dev/sdg": "vol-b"},
    "made_at": NOON,
}
ATTACHING: dict[str, Any] = {**BOTH, "attaching": ("vol-a", "vol-b"), "attaching_since": NOON}
CHOSEN: dict[str, Any] = {**ATTACHING, "run": ScriptRun("i-1")}
SENT: dict[str, Any] = {**ATTACHING, "run": ScriptRun("i-1", "cmd-1", NOON)}
MOUNTED = "farshore-restored 1\nvolumes /dev/sdf=vol-a /dev/sdg=vol-b\nverified no\nend\n"
LOCK = "instance i-1"
WHAT = "restore of rp-00000000000000000000000000000000 from primary onto i-1"
RESTORED = "restored vol-a at /dev/sdf, vol-b at /dev/sdg of i-1"
FREE: Mapping[str, str] = {"vol-a": "", "vol-b": ""}


def _job(progress: Mapping[str, Any] = {}, **own: Any) -> AnyJob:
    point = point_in("primary")
    work = AttachedRestoreWork(point.id, "primary", "eu-central-1", "i-1", RuleId("rule"))
    return job_of(attached_restore_request(point, work, "key", NOON), AttachedProgress(**progress), **own)


def _volume(id: str, attachment: str, state: str = "") -> Volume:
    """Return a volume that is attached to i-1 in this state, or, as `i-2`, to another instance."""
    device = "/dev/sdf" if id == "vol-a" else "/dev/sdg"
    elsewhere = attachment.startswith("i-")
    instance = attachment if elsewhere else "i-1"
    attachments = (
        (Attachment(instance, device, "attached" if elsewhere else attachment),) if attachment else ()
    )
    state = state or ("in-use" if attachment else "available")
    return Volume(id, state, "eu-central-1a", 1, "gp3", {}, None, attachments=attachments, created_at=NOON)


def _seen(volumes: Mapping[str, str] = {}, rule: Any = MOUNTS, **more: Any) -> AttachedObservation:
    """Show both snapshots, and volumes with their attachments."""
    shown = {id: _volume(id, attachment) for id, attachment in volumes.items()}
    return AttachedObservation(rule, more.pop("instance", HERE), more.pop("refs", (ONE, TWO)), shown, **more)


def _calling(action: Any, reason: str, operation: str) -> Do[Any]:
    return Do(action, reason, budget=Budget(operation, "eu-central-1"), locks=(LOCK,))


def _with(device: str) -> Instance:
    return replace(HERE, volumes=(BOOT, AttachedVolume("vol-x", device, boot=False)))


@pytest.mark.parametrize(
    ("progress", "seen", "expected"),
    [
        pytest.param(
            {},
            _seen(),
            _calling(
                Create(ONE, "eu-central-1a", last=False), "making volume 1 of 2, of snap-1", "CreateVolume"
            ),
            id="nothing is made yet",
        ),
        pytest.param(
            {},
            _seen(instance=replace(HERE, state="pending")),
            _calling(
                Create(ONE, "eu-central-1a", last=False), "making volume 1 of 2, of snap-1", "CreateVolume"
            ),
            id="volumes are made while the instance starts",
        ),
        pytest.param(
            {"made": {"snap-1": "vol-a"}},
            _seen({"vol-a": ""}),
            _calling(
                Create(TWO, "eu-central-1a", last=True), "making volume 2 of 2, of snap-2", "CreateVolume"
            ),
            id="the last one",
        ),
        pytest.param(
            BOTH,
            replace(
                _seen(), volumes={"vol-a": _volume("vol-a", "", "creating"), "vol-b": _volume("vol-b", "")}
            ),
            Wait(NOON + LOST_EVENT_AFTER, "waiting for vol-a"),
            id="a volume is being made",
        ),
        pytest.param(
            BOTH,
            _seen(FREE, instance=replace(HERE, state="pending")),
            Wait(NOON + LOOK_SOON, "waiting for i-1 to run"),
            id="the instance starts",
        ),
        pytest.param(
            BOTH,
            _seen(FREE),
            _calling(Attach("vol-a", "/dev/sdf"), "attaching vol-a at /dev/sdf of i-1", "AttachVolume"),
            id="the first is attached",
        ),
        pytest.param(
            {**BOTH, "attaching": ("vol-a",), "attaching_since": NOON},
            _seen(FREE),
            _calling(Attach("vol-b", "/dev/sdg"), "attaching vol-b at /dev/sdg of i-1", "AttachVolume"),
            id="a call that does not show yet is not made again",
        ),
        pytest.param(
            BOTH,
            _seen({"vol-a": "attaching", "vol-b": ""}),
            _calling(Attach("vol-b", "/dev/sdg"), "attaching vol-b at /dev/sdg of i-1", "AttachVolume"),
            id="one whose answer was lost is seen",
        ),
        pytest.param(
            ATTACHING,
            _seen({"vol-a": "attached", "vol-b": "busy"}),
            Wait(NOON + LOOK_SOON, "EC2 attaches vol-b at /dev/sdg"),
            id="one is attached",
        ),
        pytest.param(
            ATTACHING,
            _seen({"vol-a": "attached", "vol-b": "attached"}, SNAPSHOT_RULE),
            Finish(Says(f"{RESTORED}; the rule has no restore script, so nothing has mounted")),
            id="there are no scripts",
        ),
        pytest.param(
            ATTACHING,
            _seen({"vol-a": "attached", "vol-b": "attached"}, None),
            Finish(Says("the rule has no restore script")),
            id="there is no rule",
        ),
        pytest.param(
            ATTACHING,
            _seen(
                {"vol-a": "attached", "vol-b": "attached"}, run=RunSeen(Candidates(("i-1",), online("i-1")))
            ),
            Do(Choose("i-1"), "runs on i-1"),
            id="the agent answers",
        ),
        pytest.param(
            ATTACHING,
            _seen({"vol-a": "attached", "vol-b": "attached"}, run=RunSeen(Candidates(("i-1",)))),
            Wait(NOON + AGENT_LOOK, Says("waiting for the SSM agent of i-1")),
            id="the agent does not",
        ),
        pytest.param(
            CHOSEN,
            _seen(run=RunSeen(has_mailbox=False)),
            Do(Send(), "sending the script to i-1", "SendCommand", locks=(LOCK,)),
            id="the scripts are sent",
        ),
        pytest.param(
            SENT,
            _seen(run=RunSeen(invocation=said("Success", 0, stdout=MOUNTED))),
            Do(
                NoteOutcome(
                    f"{RESTORED}, mounted by the restore script (the rule has no verify script)", "err"
                ),
                "the scripts have ended well",
            ),
            id="they have ended well",
        ),
        pytest.param(
            SENT,
            _seen(
                rule=PROVES, run=RunSeen(invocation=said("Success", 0, stdout=MOUNTED.replace("no", "yes")))
            ),
            Do(
                NoteOutcome(f"{RESTORED}, mounted by the restore script and its verify script passed", "err"),
                "the scripts have ended well",
            ),
            id="they have proven it",
        ),
        pytest.param({**SENT, "outcome": "restored"}, _seen(), Finish("restored"), id="all is done"),
    ],
)
def test_the_way_forward(progress: Mapping[str, Any], seen: AttachedObservation, expected: Any) -> None:
    assert RESTORE.decide(_job(progress), seen, NOON) == expected


@pytest.mark.parametrize(
    ("progress", "seen", "after", "why"),
    [
        pytest.param(
            {}, _seen(instance=_with("/dev/sdg")), JUST_NOW, "/dev/sdg of i-1 is taken by vol-x", id="taken"
        ),
        pytest.param(
            {},
            _seen(instance=_with("/dev/xvdf")),
            JUST_NOW,
            "/dev/sdf of i-1 is taken by vol-x",
            id="taken under its other name",
        ),
        pytest.param(
            BOTH, _seen(FREE, instance=_with("/dev/sdg")), JUST_NOW, "is taken", id="taken meanwhile"
        ),
        pytest.param({}, _seen(refs=()), JUST_NOW, "it has no data volume", id="only boot volumes"),
        pytest.param(
            {},
            _seen(refs=(ONE, replace(TWO, instance_id="i-9"))),
            JUST_NOW,
            "its data volumes are of 2 instances (i-0, i-9)",
            id="of several instances",
        ),
        pytest.param(
            {},
            _seen(refs=(replace(ONE, device=""),)),
            JUST_NOW,
            "no device is recorded for the volume of snap-1",
            id="without a device",
        ),
        pytest.param(
            {}, _seen(instance=None), ADOPTION_GRACE, "i-1 is not there, or was terminated", id="no instance"
        ),
        pytest.param(BOTH, _seen(instance=None), JUST_NOW, "was terminated", id="terminated"),
        pytest.param(
            {},
            _seen(instance=replace(HERE, state="stopped")),
            AGENT_PATIENCE,
            "waited 15 minutes for i-1 to run, which is stopped; start it",
            id="stopped",
        ),
        pytest.param(
            BOTH,
            replace(_seen(), volumes={"vol-a": _volume("vol-a", "", "error"), "vol-b": _volume("vol-b", "")}),
            JUST_NOW,
            "EC2 could not make vol-a",
            id="a volume could not be made",
        ),
        pytest.param(BOTH, _seen({"vol-a": ""}), LONG_AGO, "EC2 could not make vol-b", id="a volume is gone"),
        pytest.param(
            ATTACHING,
            _seen({"vol-a": "attached", "vol-b": "i-2"}),
            JUST_NOW,
            "vol-b was attached to i-2 by somebody else",
            id="a volume was attached elsewhere",
        ),
        pytest.param(
            ATTACHING,
            _seen({"vol-a": "detaching", "vol-b": "attached"}),
            JUST_NOW,
            "vol-a is being detached by somebody else",
            id="a volume is being detached",
        ),
        pytest.param(
            ATTACHING,
            _seen({"vol-a": "attached", "vol-b": "attaching"}),
            ATTACH_PATIENCE,
            "EC2 has not attached vol-b at /dev/sdg within 15 minutes",
            id="attaching hangs",
        ),
        pytest.param(
            {**BOTH, "attaching_since": NOON},
            _seen(FREE),
            ATTACH_PATIENCE,
            "EC2 has not attached vol-a at /dev/sdf, vol-b at /dev/sdg within 15 minutes",
            id="attaching is refused again and again",
        ),
        pytest.param(
            SENT,
            _seen(run=RunSeen(invocation=said("Failed", RESTORE_FAILED))),
            JUST_NOW,
            "the restore script failed",
            id="the script failed",
        ),
        pytest.param(
            SENT,
            _seen(run=RunSeen(invocation=said("Success", 0))),
            JUST_NOW,
            "does not say that it restored; see in SSM what command cmd-1 printed",
            id="the script says nothing",
        ),
        pytest.param(
            SENT,
            _seen(rule=PROVES, run=RunSeen(invocation=said("Success", 0, stdout=MOUNTED))),
            JUST_NOW,
            "does not say that it restored",
            id="the verify script did not run",
        ),
    ],
)
def test_what_cannot_be_ends_the_job_and_says_why(
    progress: Mapping[str, Any], seen: AttachedObservation, after: timedelta, why: str
) -> None:
    decided = RESTORE.decide(_job(progress), seen, NOON + after)
    assert decided == Fail(Says(why))
    assert decided.reason.startswith(f"{WHAT}: ")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (_seen(instance=None), Wait(NOON + LOOK_SOON, "waiting for EC2 to show i-1")),
        (
            _seen(instance=replace(HERE, state="stopping")),
            Wait(NOON + AGENT_LOOK, "waiting for i-1 to run, which is stopping; start it"),
        ),
    ],
)
def test_an_instance_is_waited_for_before_anything_is_made(seen: AttachedObservation, expected: Wait) -> None:
    assert RESTORE.decide(_job(), seen, NOON) == expected


LOOKED = {**ATTACHING, "looked": True}


def _removing(*what: str, operation: str) -> Do[Remove]:
    budget = Budget(operation, "eu-central-1", len(what))
    return Do(Remove(what), "cleaning up after: it failed", budget=budget)


def _removed(*what: str, ago: timedelta = JUST_NOW) -> Removal:
    return Removal(removed=what, tried_at=NOON - ago)


HELD = ("attachment of vol-a", "attachment of vol-b")


@pytest.mark.parametrize(
    ("progress", "own", "seen", "expected"),
    [
        pytest.param(
            {},
            {},
            _seen(),
            Do(Note({}), "noting the volumes that were made"),
            id="the instance was never locked: nothing was made",
        ),
        pytest.param(
            {},
            {"locks": (LOCK,)},
            _seen(),
            Wait(NOON + ADOPTION_GRACE, "it failed; looking for volumes whose answer was lost"),
            id="a volume may have been made unseen",
        ),
        pytest.param(
            CHOSEN,
            {"intent": intended("SendCommand")},
            _seen(run=RunSeen(commands=(Command("cmd-1", NOON),))),
            Do(Adopt(Command("cmd-1", NOON)), "cleaning up after: it failed"),
            id="the script may have been sent unseen",
        ),
        pytest.param(
            {**SENT, "looked": True},
            {},
            _seen({"vol-a": "attached", "vol-b": "attached"}),
            Do(Remove(("command cmd-1",)), "cleaning up after: it failed"),
            id="the script is stopped first",
        ),
        pytest.param(
            {**SENT, "looked": True, "removal": _removed("command cmd-1")},
            {},
            _seen({"vol-a": "attached", "vol-b": "attached"}, run=RunSeen(invocation=said("Cancelling"))),
            Wait(NOON + AGENT_LOOK, "it failed; command cmd-1 on i-1 is being stopped"),
            id="its end is waited for",
        ),
        pytest.param(
            {**SENT, "removal": _removed("command cmd-1")},
            {},
            _seen({"vol-a": "attached", "vol-b": "attached"}, run=RunSeen(invocation=said("Cancelled"))),
            _removing(*HELD, operation="DetachVolume"),
            id="then the volumes are detached",
        ),
        pytest.param(
            {**LOOKED, "removal": _removed(*HELD)},
            {},
            _seen({"vol-a": "detaching", "vol-b": ""}),
            _removing("vol-b", operation="DeleteVolume"),
            id="each is deleted when it is free",
        ),
        pytest.param(
            {**LOOKED, "removal": _removed(*HELD, "vol-b")},
            {},
            _seen({"vol-a": "busy"}),
            Wait(NOON + LOOK_SOON, "it failed; vol-a is busy"),
            id="one that is still mounted is waited for",
        ),
        pytest.param(
            {**LOOKED, "removal": _removed(*HELD, "vol-b", ago=DETACH_SOON)},
            {},
            _seen({"vol-a": "busy"}),
            Wait(NOON + DETACH_SOON, "it failed; vol-a is busy; unmount it, or stop the instance"),
            id="less and less often",
        ),
        pytest.param(
            {**LOOKED, "removal": _removed(*HELD, "vol-b")},
            {},
            _seen({"vol-a": "attached"}),
            Wait(NOON + LOOK_SOON, "it failed; vol-a is attached"),
            id="a detachment that does not show yet is not asked for again",
        ),
        pytest.param(
            {**LOOKED, "removal": _removed(*HELD, "vol-b", ago=LOST_EVENT_AFTER)},
            {},
            _seen({"vol-a": "attached"}),
            _removing("attachment of vol-a", operation="DetachVolume"),
            id="until it must have",
        ),
        pytest.param(
            {**LOOKED, "removal": refused("attachment of vol-a")},
            {},
            _seen({"vol-a": "attached", "vol-b": "detaching"}),
            Wait(NOON + LOOK_SOON, Says("could not remove 1 of what was made")),
            id="one that is refused is tried again later",
        ),
        pytest.param(
            {"made": {"snap-1": "vol-a"}, "made_at": NOON, "looked": True},
            {},
            replace(_seen(), volumes={"vol-a": _volume("vol-a", "", "creating")}),
            Wait(NOON + LOOK_SOON, "it failed; vol-a is creating"),
            id="one that is being made is waited for",
        ),
        pytest.param(
            {"made": {"snap-1": "vol-a"}, "made_at": NOON, "looked": True},
            {},
            _seen(),
            Wait(NOON + LOOK_SOON, "it failed; vol-a is not visible yet"),
            id="one that does not show yet is waited for",
        ),
        pytest.param(
            {"made": {"snap-1": "vol-a"}, "made_at": NOON - ADOPTION_GRACE, "looked": True},
            {},
            _seen(),
            _removing("vol-a", operation="DeleteVolume"),
            id="one that is gone is deleted all the same",
        ),
        pytest.param(
            {**LOOKED, "removal": _removed(*HELD, "vol-a", "vol-b")},
            {},
            _seen(),
            Finish(f"{WHAT}: it failed"),
            id="all is done",
        ),
        pytest.param(
            {**LOOKED, "removal": _removed(*HELD, "vol-a")},
            {},
            _seen({"vol-b": "i-2"}),
            Finish(f"{WHAT}: it failed; left, as others have attached it elsewhere: vol-b"),
            id="what others use is left",
        ),
    ],
)
def test_cleaning_up(
    progress: Mapping[str, Any], own: Mapping[str, Any], seen: AttachedObservation, expected: Any
) -> None:
    assert RESTORE.clean_up(failed(_job(progress, **own)), seen, NOON) == expected


def test_a_volume_that_was_made_unseen_is_noted_and_then_deleted() -> None:
    job = failed(_job({"made": {"snap-1": "vol-a"}, "removal": _removed("vol-a")}, locks=(LOCK,)))
    volume = replace(_volume("vol-b", ""), snapshot_id="snap-2")
    seen = replace(_seen(), volumes={"vol-b": volume})
    after = ADOPTION_GRACE
    assert RESTORE.clean_up(job, seen, NOON + after) == Do(
        Note({"snap-2": "vol-b"}), "noting the volumes that were made"
    )
    made = {"snap-1": "vol-a", "snap-2": "vol-b"}
    noted = replace(job, progress=replace(job.progress, made=made, looked=True))
    assert RESTORE.clean_up(noted, seen, NOON + after) == _removing("vol-b", operation="DeleteVolume")


def test_what_is_left_is_the_command_and_the_volumes() -> None:
    job = failed(_job({**SENT, "removal": _removed(*HELD, "vol-a")}))
    assert RESTORE.leftovers(job) == ("command cmd-1", "vol-b")
    assert RESTORE.abandon(job, NOON) == ()


def test_a_reason_that_says_what_failed_does_not_say_it_twice() -> None:
    job = failed(_job({"looked": True}), f"{WHAT}: i-1 is not there")
    assert RESTORE.clean_up(job, _seen(), NOON + SECOND) == Finish(f"{WHAT}: i-1 is not there")

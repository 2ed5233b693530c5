"""What a backup by a service's script decides. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.aws.ssm import Command
from chalicelib.backup.service_progress import Reported, ServiceBackupProgress, manifest_of
from chalicelib.backup.service_scripts import (
    MAILBOX_INTENT,
    UPLOAD_INTENT,
    FinishUpload,
    ReadBack,
    ReadReport,
    ServiceBackup,
    ServiceObservation,
    StartUpload,
    WriteManifest,
)
from chalicelib.catalog.recovery_point import Artefact, PointId, PointState, RecoveryPoint, StoredFile
from chalicelib.catalog.store import points, services
from chalicelib.jobs.decision import Do, Fail, Finish, Wait
from chalicelib.jobs.job import ADOPTION_GRACE, AnyJob
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.script_run import (
    AGENT_LOOK,
    AGENT_PATIENCE,
    LETTER_AGE,
    OVERDUE,
    Adopt,
    Candidates,
    Choose,
    Remove,
    RunSeen,
    ScriptRun,
    Send,
    WriteLetter,
)
from chalicelib.jobs.work import copy_request, expire_request
from chalicelib.on_instance import RAN_BEFORE, BackupReport, ReportedPart
from chalicelib.plans.model import CopyTo, Kind
from chalicelib.plans.values import PRIMARY
from chalicelib.settings import OffsiteVaultConfig, S3VaultConfig
from chalicelib.vaults.layout import data_key, mailbox_folder, manifest_key, point_folder
from chalicelib.vaults.mailbox import LetterSeen
from chalicelib.vaults.manifest import Manifest, PartHash, identity
from chalicelib.vaults.s3 import S3Object
from tests.jobs.made import (
    HOUR,
    LONG_AGO,
    MINUTE,
    NONE,
    NOON,
    SERVICE_RULE,
    Rules,
    Says,
    backup_job,
    failed,
    intended,
    online,
    refused,
    said,
)

COPIES = tuple(CopyTo(vault=vault) for vault in ("dr", "offsite", "no-longer-named"))
RULE = SERVICE_RULE.model_copy(update={"verify": "check", "copies": COPIES})
IN_S3 = S3VaultConfig.copy_methods
METHODS = {PRIMARY: IN_S3, "dr": IN_S3, "offsite": OffsiteVaultConfig.copy_methods}
BACKUP = ServiceBackup(NONE, NONE, NONE, Rules(RULE), NONE, METHODS, NONE, NONE)
OVER_PARTS = identity((PartHash(2, "b6"), PartHash(1, "c7")))
REPORT = Reported("d8", 3, "a5", 2, OVER_PARTS)
SENT_AT = NOON - MINUTE

CHOSEN: dict[str, Any] = {"run": ScriptRun("i-1")}
OPENED: dict[str, Any] = {**CHOSEN, "upload": "u1"}
WRITTEN: dict[str, Any] = {**OPENED, "run": ScriptRun("i-1", letter=1, letter_at=NOON)}
SENT: dict[str, Any] = {
    **OPENED,
    "run": ScriptRun("i-1", "cmd-1", SENT_AT, letter=1, letter_at=NOON),
}
REPORTED: dict[str, Any] = {**SENT, "report": REPORT}
READ: dict[str, Any] = {**REPORTED, "etag": "e1", "parts_read": 2, "sha256": "a5"}
SENDING: dict[str, Any] = {"intent": intended("SendCommand")}


def _job(progress: Mapping[str, Any], **own: Any) -> AnyJob:
    return backup_job(RULE, ("i-1", "i-2"), ServiceBackupProgress(**progress), **own)


ID = PointId(_job({}).work.recovery_point)
FOLDER = point_folder("s", "r", NOON, ID)
MAILBOX = f"mailbox {mailbox_folder(_job({}).id)}"
DESCRIBED: dict[str, Any] = {**READ, "described": True, "removal": Removal(removed=(MAILBOX,))}
FRESH, TAKEN = LetterSeen("e1", taken=False), LetterSeen("e2", taken=True)
OBJECT, MANIFEST = f"object {data_key(FOLDER)}", f"object {manifest_key(FOLDER)}"


def _at_the_end(etag: str = "e1", size_bytes: int = 3, manifest_bytes: int | None = 9) -> ServiceObservation:
    """Return what the last step sees of the vault."""
    return ServiceObservation(
        RULE, stored=S3Object(data_key(FOLDER), size_bytes, etag), manifest_bytes=manifest_bytes
    )


def _seen(upload: str | None = None, **run: Any) -> ServiceObservation:
    return ServiceObservation(RULE, upload, RunSeen(**run))


def _point(state: PointState, **more: Any) -> RecoveryPoint:
    scripts = {"restore": "load", "verify": "check"}
    source = {"instances": ["i-1"], "rule": "rule", **scripts}
    given = {"created_at": NOON, "nominal_at": NOON, "source": source, **more}
    return RecoveryPoint(ID, "s", "p", "r", Kind.SERVICE, state, **given)


def _opening(found: str | None) -> Do[StartUpload]:
    begun = points.creating(_point(PointState.CREATING, reason="being made"), NOON)
    return Do(StartUpload(found), "opening the upload", UPLOAD_INTENT, first=(begun,))


def _ended(sha256: str | None = "a5") -> Finish:
    """End with the point recorded as verified, and counted; its copies and its lifecycle follow."""
    artefact = Artefact(
        "primary",
        PointState.AVAILABLE,
        StoredFile(key=data_key(FOLDER), etag="e1", sha256=sha256, parts_sha256=OVER_PARTS),
        FOLDER,
        NOON,
    )
    point = _point(PointState.AVAILABLE, created_at=SENT_AT, size_bytes=3, artefacts={"primary": artefact})
    opens = (
        copy_request(point, "dr", "object"),
        copy_request(point, "offsite", "segments"),
        copy_request(point, "no-longer-named", "object"),
        expire_request(point.lineage, NOON, f"after {ID}"),
    )
    arrived = services.arriving(point, point.artefacts["primary"])
    writes = (points.settling(point, NOON), *arrived, services.flagging(point))
    named = f"SHA-256 {sha256}" if sha256 else f"SHA-256 over its parts {OVER_PARTS}"
    return Finish(f"3 bytes, {named}", writes, opens)


def _not_made(instance: str | None) -> Finish:
    """End with the point recorded as failed."""
    source = {"instances": [instance] if instance else [], "rule": "rule"}
    return Finish(
        "it failed", (points.settling(_point(PointState.FAILED, source=source, reason="it failed"), NOON),)
    )


@pytest.mark.parametrize(
    ("progress", "seen", "expected"),
    [
        pytest.param(
            {},
            _seen(candidates=Candidates(("i-2", "i-1"), online("i-1"))),
            Do(Choose("i-1"), "runs on i-1"),
            id="an instance is chosen",
        ),
        pytest.param(CHOSEN, _seen(), _opening(None), id="the upload is opened with the point's record"),
        pytest.param(CHOSEN, _seen("u1"), _opening("u1"), id="an upload begun before is gone on with"),
        pytest.param(
            OPENED,
            _seen(),
            Do(WriteLetter(1, None), "writing what the script may do"),
            id="its first letter is written",
        ),
        pytest.param(
            WRITTEN,
            _seen(letter=FRESH),
            Do(Send(), "sending the script to i-1", "SendCommand", locks=("instance i-1",)),
            id="the script is sent",
        ),
        pytest.param(
            SENT,
            _seen(invocation=said("Success", 0)),
            Do(ReadReport("out", "err"), "the script has succeeded"),
            id="the script has ended",
        ),
        pytest.param(REPORTED, _seen(), Do(FinishUpload(), "closing the upload"), id="it has reported"),
        pytest.param(
            {**REPORTED, "etag": "e1"},
            _seen(),
            Do(ReadBack(), "reading the object back"),
            id="the upload is closed",
        ),
        pytest.param(
            {**READ, "parts_read": 1},
            _seen(),
            Do(ReadBack(), "reading the object back"),
            id="one part is read",
        ),
        pytest.param(
            READ,
            _seen(),
            Do(WriteManifest(RULE), "writing the manifest"),
            id="all parts are read",
        ),
        pytest.param(
            {**READ, "described": True},
            _at_the_end(),
            Do(Remove((MAILBOX,)), "removing the mailbox", MAILBOX_INTENT),
            id="the manifest is written",
        ),
        pytest.param(
            {**READ, "described": True, "removal": refused(MAILBOX)},
            _at_the_end(),
            _ended(),
            id="a mailbox that cannot be removed holds up no point",
        ),
        pytest.param(DESCRIBED, _at_the_end(), _ended(), id="the mailbox is gone"),
        pytest.param(
            {**DESCRIBED, "sha256": None},
            _at_the_end(),
            _ended(sha256=None),
            id="what the instance says of a whole that no turn has read is not recorded",
        ),
        pytest.param(
            DESCRIBED,
            _seen(),
            Fail(
                f"backup of s: primary:{data_key(FOLDER)} has disappeared since it was read"
                " back; find out who or what deletes in this bucket"
            ),
            id="an outsider has deleted the object",
        ),
        pytest.param(
            DESCRIBED,
            _at_the_end(etag="e2"),
            Fail(
                f"backup of s: primary:{data_key(FOLDER)} was replaced after it was read back;"
                " find out who or what writes to this bucket"
            ),
            id="an outsider has replaced the object",
        ),
        pytest.param(
            DESCRIBED,
            _at_the_end(manifest_bytes=None),
            Fail(
                f"backup of s: primary:{data_key(FOLDER)} has lost its manifest; find out who or"
                " what deletes in this bucket"
            ),
            id="an outsider has deleted the manifest",
        ),
    ],
)
def test_the_way_forward(progress: dict[str, Any], seen: ServiceObservation, expected: Any) -> None:
    assert BACKUP.decide(_job(progress), seen, NOON) == expected


@pytest.mark.parametrize(
    ("intent", "commands", "expected"),
    [
        pytest.param(
            intended("SendCommand"),
            (),
            Wait(NOON + ADOPTION_GRACE, Says("looking for its result")),
            id="it may not be visible yet",
        ),
        pytest.param(
            intended("SendCommand", ADOPTION_GRACE),
            (),
            Do(WriteLetter(1, "e1"), "writing what the script may do"),
            id="it was not made, and the letter is old by now",
        ),
        pytest.param(
            intended("SendCommand"),
            (Command("cmd-1", NOON),),
            Do(Adopt(Command("cmd-1", NOON)), Says("found the command sent before: cmd-1")),
            id="it was made",
        ),
        pytest.param(
            intended("SendCommand"),
            (Command("cmd-0", NOON - LONG_AGO),),
            Wait(NOON + ADOPTION_GRACE, Says("looking for its result")),
            id="a command older than the intent is not it",
        ),
    ],
)
def test_a_command_that_may_have_been_sent(intent: Any, commands: tuple[Command, ...], expected: Any) -> None:
    old = {**WRITTEN, "run": replace(WRITTEN["run"], letter_at=NOON - LETTER_AGE)}
    seen = _seen(commands=commands, letter=FRESH)
    assert BACKUP.decide(_job(old, intent=intent), seen, NOON) == expected


@pytest.mark.parametrize(
    ("letter", "age", "expected"),
    [
        pytest.param(FRESH, 0 * MINUTE, None, id="one waits for the run"),
        pytest.param(FRESH, LETTER_AGE, WriteLetter(1, "e1"), id="it is old"),
        pytest.param(TAKEN, 0 * MINUTE, WriteLetter(2, None), id="it was taken"),
        pytest.param(None, 0 * MINUTE, WriteLetter(1, None), id="somebody has deleted it"),
    ],
)
def test_there_is_always_a_fresh_letter_for_a_run(letter: LetterSeen | None, age: Any, expected: Any) -> None:
    decided = BACKUP.decide(_job(SENT), _seen(invocation=said("InProgress"), letter=letter), NOON + age)
    if expected is None:
        assert decided == Wait(
            NOON + age + AGENT_LOOK, "the script runs on i-1 since 2026-11-01 11:59:00 UTC (command cmd-1)"
        )
    else:
        assert decided == Do(expected, Says(f"; writing letter {expected.number} to it"))


@pytest.mark.parametrize(
    ("progress", "seen", "after", "expected"),
    [
        pytest.param(
            {},
            _seen(candidates=Candidates(("i-1",))),
            0 * MINUTE,
            Wait(NOON + AGENT_LOOK, Says("waiting for the SSM agent of i-1, which has never registered")),
            id="no agent is online yet",
        ),
        pytest.param(
            {},
            _seen(candidates=Candidates(("i-1",))),
            AGENT_PATIENCE,
            Fail(Says("backup of s on i-1, i-2: waited 15 minutes for the SSM agent of i-1")),
            id="no agent comes online",
        ),
        pytest.param(
            {},
            _seen(),
            AGENT_PATIENCE,
            Fail(Says("backup of s on i-1, i-2: waited 15 minutes for a running instance")),
            id="no instance runs",
        ),
        pytest.param(
            SENT,
            _seen(letter=FRESH),
            0 * MINUTE,
            Wait(NOON + AGENT_LOOK, Says("the script waits in SSM since")),
            id="the command is not visible yet",
        ),
        pytest.param(
            SENT,
            _seen(invocation=said("InProgress"), letter=FRESH),
            MINUTE,
            Wait(
                NOON + MINUTE + AGENT_LOOK,
                "the script runs on i-1 since 2026-11-01 11:59:00 UTC (command cmd-1)",
            ),
            id="the script runs",
        ),
        pytest.param(
            SENT,
            _seen(invocation=said("InProgress")),
            HOUR + OVERDUE,
            Fail(Says("backup of s on i-1: SSM has not said how command cmd-1 ended")),
            id="SSM has lost the command",
        ),
        pytest.param(
            SENT,
            _seen(invocation=said("InProgress"), instance_gone=True),
            MINUTE,
            Fail("backup of s on i-1: i-1 was stopped or terminated while command cmd-1 ran"),
            id="the instance is gone",
        ),
        pytest.param(
            SENT,
            _seen(invocation=said("Failed", 10)),
            MINUTE,
            Fail("backup of s on i-1: the backup script failed; its last words: err"),
            id="the script failed",
        ),
        pytest.param(
            SENT,
            _seen(invocation=said("TimedOut", details="Execution Timed Out")),
            HOUR,
            Fail(Says("backup of s on i-1: it ran longer than its timeout of 1 hour")),
            id="the script took longer than its rule allows",
        ),
        pytest.param(
            SENT,
            _seen(invocation=said("Failed", RAN_BEFORE), commands=(Command("cmd-0", NOON),)),
            MINUTE,
            Do(Adopt(Command("cmd-0", NOON), refused="cmd-1"), Says("ran before, as command cmd-0")),
            id="sent twice: the one that ran is followed",
        ),
        pytest.param(
            SENT,
            _seen(invocation=said("Failed", RAN_BEFORE)),
            MINUTE,
            Fail(
                Says(
                    Says(
                        "backup of s on i-1: the script of this job ran before on i-1, and it is unknown how"
                    )
                )
            ),
            id="it ran before and left nothing",
        ),
    ],
)
def test_how_the_script_fares(
    progress: dict[str, Any], seen: ServiceObservation, after: Any, expected: Any
) -> None:
    assert BACKUP.decide(_job(progress), seen, NOON + after) == expected


CLEANING = "cleaning up after: it failed"


@pytest.mark.parametrize(
    ("job", "seen", "expected"),
    [
        pytest.param(_job({}), _seen(), _not_made(None), id="nothing was begun"),
        pytest.param(_job(CHOSEN), _seen(), _not_made("i-1"), id="an instance was chosen"),
        pytest.param(
            _job(CHOSEN, intent=intended(UPLOAD_INTENT)),
            _seen("u1"),
            Do(StartUpload("u1"), CLEANING),
            id="an upload begun unseen is recorded before it goes",
        ),
        pytest.param(
            _job(CHOSEN, intent=intended(UPLOAD_INTENT)),
            _seen(),
            _not_made("i-1"),
            id="no upload was begun: S3 would show it at once",
        ),
        pytest.param(
            _job(OPENED, **SENDING),
            _seen(commands=(Command("cmd-1", NOON),)),
            Do(Adopt(Command("cmd-1", NOON)), CLEANING),
            id="a command sent unseen is recorded before it is stopped",
        ),
        pytest.param(
            _job(OPENED, **SENDING),
            _seen(),
            Wait(NOON + ADOPTION_GRACE, Says("looking for its result")),
            id="a command that may have been sent is looked for",
        ),
        pytest.param(
            _job(OPENED, intent=intended("SendCommand", LONG_AGO)),
            _seen(),
            Do(Remove(("upload u1",)), CLEANING),
            id="a command that was not sent is not looked for any more",
        ),
        pytest.param(
            _job(SENT),
            _seen(),
            Do(Remove(("command cmd-1", "upload u1")), CLEANING),
            id="the script is stopped before its upload goes",
        ),
        pytest.param(
            _job(REPORTED),
            _seen(),
            Do(Remove(("command cmd-1", "upload u1", MANIFEST, OBJECT)), CLEANING, deletes=True),
            id="the upload may have become an object",
        ),
        pytest.param(
            _job({**SENT, "removal": refused("upload u1")}),
            _seen(),
            Do(Remove(("command cmd-1",)), CLEANING),
            id="what was refused holds up nothing",
        ),
        pytest.param(
            _job({**OPENED, "removal": refused("upload u1")}),
            _seen(),
            Wait(NOON + 2 * MINUTE, Says("it failed; could not remove 1 of what was made")),
            id="what was refused waits",
        ),
        pytest.param(
            _job({**OPENED, "removal": refused("upload u1", ago=HOUR)}),
            _seen(),
            Do(Remove(("upload u1",)), CLEANING),
            id="what was refused is tried again",
        ),
        pytest.param(
            _job({**SENT, "removal": Removal(removed=("command cmd-1", "upload u1"))}),
            _seen(invocation=said("Cancelling")),
            Wait(NOON + AGENT_LOOK, "it failed; command cmd-1 on i-1 is being stopped"),
            id="the script is being stopped",
        ),
        pytest.param(
            _job({**SENT, "removal": Removal(removed=("command cmd-1", "upload u1"))}),
            _seen(invocation=said("Cancelled")),
            Do(Remove((MAILBOX,)), CLEANING),
            id="the script has ended, and takes no letter any more",
        ),
        pytest.param(
            _job({**SENT, "removal": Removal(removed=("command cmd-1", "upload u1", MAILBOX))}),
            _seen(invocation=said("Cancelled")),
            _not_made("i-1"),
            id="all is removed",
        ),
    ],
)
def test_cleaning_up(job: AnyJob, seen: ServiceObservation, expected: Any) -> None:
    assert BACKUP.clean_up(failed(job), seen, NOON) == expected


def test_the_manifest_has_our_hash_of_the_whole_and_not_the_one_reported() -> None:
    report = BackupReport(3, "f9", (ReportedPart(1, 2, "b6"), ReportedPart(2, 1, "c7")))
    assert manifest_of(_job(READ), RULE, report, "") == Manifest(
        recovery_point=ID,
        service="s",
        plan="p",
        rule="r",
        kind="service",
        nominal_at=NOON,
        created_at=SENT_AT,
        source={"instance": "i-1", "restore": "load", "verify": "check"},
        size_bytes=3,
        sha256="a5",
        parts=(PartHash(2, "b6"), PartHash(1, "c7")),
    )


def test_a_backup_that_could_not_be_cleaned_up_is_recorded_as_failed_all_the_same() -> None:
    assert BACKUP.abandon(failed(_job(SENT)), NOON) == _not_made("i-1").writes


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        pytest.param({}, (), id="nothing was begun"),
        pytest.param(SENT, ("command cmd-1", "upload u1", MAILBOX), id="a command, an upload, a mailbox"),
        pytest.param(
            {**REPORTED, "removal": Removal(removed=("command cmd-1", OBJECT))},
            ("upload u1", MANIFEST, MAILBOX),
            id="what is not removed",
        ),
    ],
)
def test_what_is_left_is_named(progress: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert BACKUP.leftovers(failed(_job(progress))) == expected

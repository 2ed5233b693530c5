"""A probe of a vault: what it decides, and what it makes of a vault that lies."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.errors import IntegrityFailure, Permanent
from chalicelib.insight.vault_probe import ProbeProgress, ReadBack, Remove, VaultProbe, WriteObject
from chalicelib.jobs.decision import Children, Do, Finish
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Failure, JobState
from chalicelib.jobs.work import probe_request
from tests.jobs.made import job_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
JOB = job_of(probe_request("dr", "asked", NOW), ProbeProgress())
TURN = Turn(NOW)
NOTHING = Children()


class Liar:
    """A vault that gives back other bytes, and keeps what it is to delete."""

    name = "dr"

    def put(self, key: str, data: bytes) -> None:
        self.stored = {key: data}

    def get(self, key: str) -> bytes:
        return self.stored[key][:-1] + b"?"

    def delete(self, key: str) -> None:
        raise Permanent("it is locked")


def probe() -> VaultProbe:
    liar: Any = Liar()
    return VaultProbe(lambda _: liar, lambda: NOW)


@pytest.mark.parametrize(
    ("progress", "action"),
    [
        (ProbeProgress(), WriteObject()),
        (ProbeProgress(NOW), ReadBack()),
        (ProbeProgress(NOW, NOW), Remove()),
    ],
)
def test_it_writes_then_reads_back_then_deletes(progress: ProbeProgress, action: object) -> None:
    decided = probe().decide(replace(JOB, progress=progress), None, NOW)
    assert isinstance(decided, Do)
    assert decided.action == action


def test_it_ends_once_the_object_is_gone() -> None:
    decided = probe().decide(replace(JOB, progress=ProbeProgress(NOW, NOW, NOW)), None, NOW)
    assert isinstance(decided, Finish)
    assert decided.reason.endswith("bytes were written, read back and deleted in 0.00 s")


def test_other_bytes_than_were_written_fail_it() -> None:
    one = probe()
    written = one.act(JOB, WriteObject(), TURN).progress
    with pytest.raises(IntegrityFailure, match="other bytes came back"):
        one.act(replace(JOB, progress=written), ReadBack(), TURN)


def test_a_failed_probe_tries_once_to_delete_and_then_names_the_object() -> None:
    one, failure = probe(), Failure("no", JobState.FAILED, NOW)
    job = replace(JOB, failure=failure, progress=ProbeProgress(NOW))
    decided = one.clean_up(job, None, NOW)
    assert isinstance(decided, Do)
    job = replace(job, progress=one.act(job, decided.action, TURN).progress)
    assert one.clean_up(job, None, NOW) == Finish("no")
    assert one.leftovers(job) == (f"object mailbox/{JOB.id}/probe",)


def test_one_that_recorded_no_write_deletes_all_the_same_as_its_worker_may_have_died() -> None:
    job = replace(JOB, failure=Failure("no", JobState.FAILED, NOW))
    decided = probe().clean_up(job, None, NOW)
    assert isinstance(decided, Do)
    assert decided.action == Remove(once=True)
    assert probe().leftovers(job) == ()

"""What AWS says has ended (snapshots, copies, volumes, commands, instances): pokes the jobs concerned.

The job is found by the mark or tag that its artefact carries, or by its lock on the instance, so an event
about anything else pokes nothing; a poke on the word of a forged one does no harm.
"""

import json
from collections.abc import Callable, Iterable

from chalice.app import Blueprint, SQSEvent

from chalicelib.catalog.recovery_point import TAG_JOB
from chalicelib.jobs.claims import lock_of_instance
from chalicelib.jobs.job import job_of_mark
from chalicelib.observability import count, logger
from chalicelib.triggers.batch import BatchAnswer, message_id, work_off
from chalicelib.triggers.events import Subject, subjects_of
from chalicelib.wiring import Farshore, farshore

blueprint = Blueprint(__name__)


# The packaged template puts the stack's own queue in place of this name.
@blueprint.on_sqs_message(queue="farshore-events", batch_size=100, maximum_batching_window_in_seconds=2)
def completions(event: SQSEvent) -> BatchAnswer:
    """Poke the jobs that wait for what these events tell."""
    found: dict[str, list[Subject]] = {}
    answer = work_off(
        event, lambda record: found.update({message_id(record): subjects_of(json.loads(record.body))})
    )
    failed = poke_jobs_of(found, farshore())
    answer["batchItemFailures"] += [{"itemIdentifier": each} for each in sorted(failed)]
    return answer


def poke_jobs_of(found: dict[str, list[Subject]], app: Farshore) -> set[str]:
    """Poke the jobs whose snapshots, volumes, commands and instances these are; one look-up for each kind and
    region.

    Returns: the messages whose look-up failed, to be delivered again; the others are done with.
    """
    messages: dict[tuple[str, str], dict[str, set[str]]] = {}
    for message, subjects in found.items():
        for subject in subjects:
            messages.setdefault((subject.kind, subject.region), {}).setdefault(subject.id, set()).add(message)
    log, failed = logger(), set[str]()
    for (kind, region), by_id in messages.items():
        try:
            jobs = set(_LOOK_UPS[kind](app, region, sorted(by_id)))
            app.queue.poke_all(sorted(jobs))
        except Exception:  # one region or call that fails loses no other's events
            log.exception("events not looked up", extra={"about": kind, "region": region})
            count("EventsNotLookedUp", about=kind, region=region)
            failed |= {message for those in by_id.values() for message in those}
    return failed


def _of_snapshots(app: Farshore, region: str, ids: list[str]) -> Iterable[str]:
    found = app.ec2(region).snapshots_by_id(ids)
    return (job for snapshot in found if (job := job_of_mark(snapshot.description)))


def _of_volumes(app: Farshore, region: str, ids: list[str]) -> Iterable[str]:
    found = app.ec2(region).volumes(ids)
    return (volume.tags[TAG_JOB] for volume in found if TAG_JOB in volume.tags)


def _of_commands(app: Farshore, region: str, ids: list[str]) -> Iterable[str]:
    return (job for command in ids if (job := job_of_mark(app.ssm.comment_of(command))))


def _at_instances(app: Farshore, region: str, ids: list[str]) -> Iterable[str]:
    return (job for each in ids if (job := app.claims.lock_holder(lock_of_instance(each))))


_LOOK_UPS: dict[str, Callable[[Farshore, str, list[str]], Iterable[str]]] = {
    "snapshot": _of_snapshots,
    "volume": _of_volumes,
    "command": _of_commands,
    "instance": _at_instances,
}

"""What AWS says has ended (snapshots, copies, volumes, commands): pokes the jobs concerned.

The job is found by the tag or comment that its artefact carries, so an event about anything else pokes
nothing.
"""

import json

from chalice.app import Blueprint, SQSEvent

from chalicelib.catalog.recovery_point import TAG_JOB
from chalicelib.on_instance.run import job_of_comment
from chalicelib.triggers.batch import BatchAnswer, work_off
from chalicelib.triggers.events import Subjects
from chalicelib.wiring import Farshore, farshore

blueprint = Blueprint(__name__)


# The packaged template puts the stack's own queue in place of this name.
@blueprint.on_sqs_message(queue="farshore-events", batch_size=100, maximum_batching_window_in_seconds=2)
def completions(event: SQSEvent) -> BatchAnswer:
    """Poke the jobs that wait for what these events tell."""
    subjects = Subjects()
    answer = work_off(event, lambda record: subjects.add(json.loads(record.body)))
    poke_jobs_of(subjects, farshore())
    return answer


def poke_jobs_of(subjects: Subjects, app: Farshore) -> None:
    """Poke the jobs whose snapshots, volumes and commands these are; one look-up for each kind and region."""
    jobs: set[str] = set()
    for region, ids in subjects.snapshots.items():
        found = app.ec2(region).snapshots_by_id(sorted(ids))
        jobs |= {snapshot.tags[TAG_JOB] for snapshot in found if TAG_JOB in snapshot.tags}
    for region, ids in subjects.volumes.items():
        volumes = app.ec2(region).volumes(sorted(ids))
        jobs |= {volume.tags[TAG_JOB] for volume in volumes if TAG_JOB in volume.tags}
    jobs |= {job for command in subjects.commands if (job := job_of_comment(app.ssm.comment_of(command)))}
    if jobs:
        app.queue.poke_all(sorted(jobs))

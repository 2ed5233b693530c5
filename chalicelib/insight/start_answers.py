"""Starts of instances, as the API answers them: what would be done. Pure."""

from datetime import datetime, timedelta
from typing import Annotated

from chalicelib.catalog.values import Answer, Moment, says
from chalicelib.jobs.job import JobRequest
from chalicelib.jobs.step_times import in_seconds
from chalicelib.jobs.work import StartWork
from chalicelib.plans.durations import render_duration
from chalicelib.plans.model import Rule


class StartWould(Answer):
    """What a start of instances would do."""

    reason: Annotated[str, says("what is started, and from what")]
    service: Annotated[str, says("the service")]
    plan: Annotated[str, says("its plan")]
    rule: Annotated[str, says("the rule whose point is restored")]
    count: Annotated[int, says("how many instances")]
    instance_type: Annotated[str, says("their type")]
    vcpus: Annotated[int, says("the vCPUs that they have together, which count against the account's quota")]
    launch_template: Annotated[str, says("the launch template")]
    version: Annotated[int, says("its version")]
    places: Annotated[tuple[str, ...], says("the zones or subnets, in the order in which they are tried")]
    spread: Annotated[bool, says("whether the places share the instances; else the first with room has all")]
    tags: Annotated[dict[str, str], says("the tags of the instances, beside Farshore's")]
    recovery_point: Annotated[str, says("the point that is restored onto each")]
    vault: Annotated[str, says("the vault it is restored from")]
    point_created_at: Annotated[Moment, says("when its data was taken")]
    age: Annotated[str, says("how old that is")]
    restore: Annotated[str, says("the script that restores it")]
    verify: Annotated[str | None, says("the script that proves it; null: nothing is proven")]
    timeout: Annotated[str, says("how long the launch of each instance may take")]
    identity: Annotated[bool, says("whether the plan's identity moves to the instance")]
    on_failure: Annotated[str, says("what becomes of instances whose launch does not succeed")]


class StartPreview(Answer):
    """The answer to a dry run of a start of instances."""

    jobs: Annotated[tuple[str, ...], says("none")]
    would: Annotated[StartWould, says("what would be done")]


def start_preview(
    planned: JobRequest[StartWork], rule: Rule, vcpus: int, made_at: datetime, age: timedelta
) -> StartPreview:
    """Return what a start would do; `rule` has the scripts that run, `made_at` and `age` are the point's."""
    work = planned.work
    would = StartWould(
        reason=planned.reason,
        service=planned.service,
        plan=planned.plan,
        rule=planned.rule,
        count=work.count,
        instance_type=work.template.instance_type,
        vcpus=vcpus,
        launch_template=work.template.id,
        version=work.template.version,
        places=tuple(map(str, work.places)),
        spread=work.spread,
        tags=dict(work.tags),
        recovery_point=work.recovery_point,
        vault=work.vault,
        point_created_at=made_at,
        age=in_seconds(age),
        restore=rule.restore or "",
        verify=rule.verify,
        timeout=render_duration(work.on_launch.timeout),
        identity=work.identity is not None,
        on_failure="terminate" if work.terminates else "keep",
    )
    return StartPreview(jobs=(), would=would)

"""What a plan would do: which services and instances it covers now, when each rule runs next, and what
looks wrong."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from chalicelib.insight.documents import rfc3339
from chalicelib.plans.durations import render_duration
from chalicelib.plans.model import Plan, Rule

RUNS_SHOWN = 3
LOOK_AHEAD = timedelta(days=366)


def warnings_of(
    plan: Plan, services: Mapping[str, Sequence[str]], without_service: Sequence[str]
) -> list[str]:
    """Return what is allowed and yet is likely a mistake. Pure."""
    warnings = []
    if not services:
        tags = ", ".join(f"{key}={'|'.join(values)}" for key, values in plan.selection.tags.items())
        warnings.append(f"the plan selects no instance now (tags {tags}); backups start when one is there")
    if without_service:
        warnings.append(
            f"{len(without_service)} instances lack the tag that names their service and are not backed up: "
            + ", ".join(without_service[:10])
        )
    return warnings


def next_runs(rule: Rule, now: datetime) -> list[str]:
    """Return when the rule runs next (RFC 3339), or how often when it follows its RPO. Pure."""
    if rule.schedule is None:
        return [f"whenever the newest point would be older than {render_duration(rule.rpo or timedelta())}"]
    return [rfc3339(at) for at in islice(rule.schedule.between(now, now + LOOK_AHEAD), RUNS_SHOWN)]


def preview(
    plan: Plan, services: Mapping[str, Sequence[str]], without_service: Sequence[str], now: datetime
) -> dict[str, Any]:
    """Return the whole preview as JSON-able values. Pure."""
    return {
        "plan": plan.to_document(),
        "covers": [{"service": name, "instance_ids": list(ids)} for name, ids in sorted(services.items())],
        "next_runs": {rule.name: next_runs(rule, now) for rule in plan.rules},
        "warnings": warnings_of(plan, services, without_service),
    }

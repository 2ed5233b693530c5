"""Previews a plan: when each rule runs next, and what is probably a mistake. Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from chalicelib.catalog.values import rfc3339
from chalicelib.plans.durations import in_words
from chalicelib.plans.model import Plan, Rule, ServiceRule
from chalicelib.plans.objectives import longest_gap
from chalicelib.plans.values import is_path

RUNS_SHOWN = 3


def warnings_of(
    plan: Plan, services: Mapping[str, Sequence[str]], without_service: Sequence[str], now: datetime
) -> list[str]:
    """Return what is allowed but probably a mistake. Pure."""
    warnings = []
    if not services:
        tags = ", ".join(f"{key}={'|'.join(values)}" for key, values in plan.selection.tags.items())
        warnings.append(f"the plan selects no instance now (tags {tags}); backups start when one is there")
    if without_service:
        warnings.append(
            f"{len(without_service)} instances lack the tag that names their service and are not backed up: "
            + ", ".join(without_service[:10])
        )
    return [*warnings, *_unmet_objective(plan, now), *_hidden_failures(plan)]


def _unmet_objective(plan: Plan, now: datetime) -> Iterator[str]:
    """Yield a warning if no rule runs as often as the objective requires."""
    wanted = plan.objectives.rpo
    gaps = {rule.name: longest_gap(rule.times, now) if rule.times else rule.rpo for rule in plan.rules}
    known = {name: gap for name, gap in gaps.items() if gap is not None}
    if wanted is None or not known:
        return
    best = min(known, key=lambda name: known[name])
    if known[best] > wanted:
        yield (
            f"objectives.rpo is {in_words(wanted)}, and no rule runs as often: two runs of {best} are up to "
            f"{in_words(known[best])} apart; have a rule run more often, or promise less"
        )


def _hidden_failures(plan: Plan) -> Iterator[str]:
    """Yield a warning for each script in which a failure before a pipe goes unnoticed."""
    for rule in plan.rules:
        backup = rule.script if isinstance(rule, ServiceRule) else None
        for key, script in (("script", backup), ("restore", rule.restore), ("verify", rule.verify)):
            if script and _pipes_blindly(script):
                yield (
                    f"{key} of rule {rule.name} has a pipe, where sh sees only the last command fail; begin "
                    "with #!/bin/bash and set -o pipefail, or write to a file between the two"
                )


def _pipes_blindly(script: str) -> bool:
    """Return whether a script for sh has a pipe and no pipefail."""
    first = script.split("\n", 1)[0]
    other_language = first.startswith("#!") and not first.rstrip().endswith("sh")
    if is_path(script) or other_language or "pipefail" in script:
        return False
    words = shlex.shlex(script, posix=True, punctuation_chars="|&;()<>")
    try:
        return any(word in ("|", "|&") for word in words)
    except ValueError:  # quotes that a shell reads differently: here-documents, for example
        return False


def next_runs(rule: Rule, now: datetime) -> list[str]:
    """Return when the rule runs next (RFC 3339), or in words how often if it has an RPO. Pure."""
    if rule.times is None:
        return [f"whenever the newest point would be older than {in_words(rule.rpo or timedelta())}"]
    return [rfc3339(at) for at in islice(rule.times.after(now), RUNS_SHOWN)]

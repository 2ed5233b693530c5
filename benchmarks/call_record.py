"""The local cloud's own record of who called what, how it was answered, and when snapshots started.

A call is *refused* if EC2's bucket is empty (503, RequestLimitExceeded), *failed* if it was answered with
another error, else *made*. DynamoDB answers 400 where a condition does not hold; that is a failed call here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from local_cloud.cloud import Cloud
from local_cloud.recognise import Target

STARTING = ("CreateSnapshot", "CreateSnapshots")
READING = ("Describe", "Get", "List", "Search")
DYNAMODB_READING = frozenset({"GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan"})
API = "APIHandler"


class Outcome(StrEnum):
    """How a call was answered."""

    MADE = "made"
    REFUSED = "refused"
    FAILED = "failed"


class Made(NamedTuple):
    """What calls are counted by; `function` is None for a caller that is no function."""

    function: str | None
    service: str
    operation: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Invocation:
    """A function that ran: until when in simulated time, how many real seconds, what it called."""

    function: str
    ended_at: datetime
    seconds: float
    calls: int


@dataclass
class CallRecord:
    """All that happened since the record was opened or cleared."""

    now: Callable[[], datetime]
    calls: Counter[Made] = field(default_factory=Counter)
    starts: list[datetime] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    _calls_of_invocation: int = 0

    @classmethod
    def of(cls, cloud: Cloud) -> "CallRecord":
        """Record what happens on `cloud` from now on."""
        record = cls(cloud.clock.now)
        cloud.calls.on_answer.append(record.answered)
        cloud.functions.on_end.append(record.ended)
        return record

    def answered(self, target: Target, function: str | None, status: int) -> None:
        """Enter a call."""
        outcome = outcome_of(status)
        name = None if function is None else function.rpartition("-")[2]
        self.calls[Made(name, target.service, target.operation, outcome)] += 1
        self._calls_of_invocation += function is not None
        if outcome is Outcome.MADE and target.service == "ec2" and target.operation in STARTING:
            self.starts.append(self.now())

    def ended(self, function: str, seconds: float) -> None:
        """Enter an invocation."""
        name, calls = function.rpartition("-")[2], self._calls_of_invocation
        self.invocations.append(Invocation(name, self.now(), seconds, calls))
        self._calls_of_invocation = 0

    def clear(self) -> None:
        """Forget all."""
        self.calls.clear()
        self.starts.clear()
        self.invocations.clear()


def outcome_of(status: int) -> Outcome:
    """Return, from an HTTP status, how a call ended."""
    if status < 400:
        return Outcome.MADE
    return Outcome.REFUSED if status == 503 else Outcome.FAILED


def starting(calls: Mapping[Made, int]) -> dict[Outcome, int]:
    """Count the calls that start snapshots, by outcome."""
    counts = dict.fromkeys(Outcome, 0)
    for made, count in calls.items():
        if made.service == "ec2" and made.operation in STARTING:
            counts[made.outcome] += count
    return counts


def mutating_ec2(calls: Mapping[Made, int]) -> int:
    """Count the calls to EC2 that change something or would, refused ones too."""
    return sum(
        count
        for made, count in calls.items()
        if made.service == "ec2" and not made.operation.startswith(READING)
    )


def ended(calls: Mapping[Made, int], outcome: Outcome) -> dict[Made, int]:
    """Keep the calls that ended so."""
    return {made: count for made, count in calls.items() if made.outcome is outcome}


def by_operation(calls: Mapping[Made, int]) -> dict[str, int]:
    """Count by `service:operation`, however answered, the most frequent first."""
    counts: Counter[str] = Counter()
    for made, count in calls.items():
        counts[f"{made.service}:{made.operation}"] += count
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def by_service(calls: Mapping[Made, int]) -> dict[str, int]:
    """Count by service, DynamoDB's reads and writes apart, the most frequent first."""
    counts: Counter[str] = Counter()
    for made, count in calls.items():
        service = made.service
        if service == "dynamodb":
            service += " reads" if made.operation in DYNAMODB_READING else " writes"
        counts[service] += count
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def of_functions(calls: Mapping[Made, int], without: Iterable[str] = (API,)) -> dict[Made, int]:
    """Keep the calls that functions made, without those of the API, which the benchmark itself asks."""
    left_out = {None, *without}
    return {made: count for made, count in calls.items() if made.function not in left_out}


def for_each(counts: Mapping[str, int], instances: int) -> dict[str, float]:
    """Share counts out among the instances."""
    return {name: count / instances for name, count in counts.items()}

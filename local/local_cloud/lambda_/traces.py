"""Trace headers: which invocation makes a call, and which invocations led to it.

Lambda gives an invocation `_X_AMZN_TRACE_ID`, the SDK sends it as `X-Amzn-Trace-Id` with every call, SQS
keeps it with a message as `AWSTraceHeader`, and the next invocation continues from there
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html). Its shape is X-Ray's
(https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html): the root names the chain of
invocations, the parent this one. The lineage counts the chain's invocations by function; AWS does not
document its shape.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace header."""

    root: str
    parent: str
    lineage: Mapping[str, int] = field(default_factory=dict)

    def invocations_of(self, function_arn: str) -> int:
        """Return how often the chain has invoked a function."""
        return self.lineage.get(_short(function_arn), 0)

    def written(self) -> str:
        """Return the header."""
        lineage = "|".join(f"{function}:{count}" for function, count in self.lineage.items())
        return f"Root={self.root};Parent={self.parent};Sampled=0;Lineage={lineage}"


def read_trace(header: str) -> Trace | None:
    """Read a header; None for one that is not ours to read."""
    parts = dict(part.partition("=")[::2] for part in unquote(header).split(";"))
    try:
        counts = (one.split(":") for one in parts["Lineage"].split("|") if one)
        return Trace(parts["Root"], parts["Parent"], {function: int(count) for function, count in counts})
    except (KeyError, ValueError):
        return None


def continued(causes: Sequence[Trace], function_arn: str) -> Trace:
    """Return the trace of a function's invocation; without causes it begins a chain.

    Of several causes the longest chain of each function counts.
    """
    lineage: dict[str, int] = {}
    for cause in causes:
        for function, count in cause.lineage.items():
            lineage[function] = max(count, lineage.get(function, 0))
    function = _short(function_arn)
    lineage[function] = lineage.get(function, 0) + 1
    number = uuid.uuid4().hex
    root = causes[0].root if causes else f"1-{number[:8]}-{number[8:]}"
    return Trace(root, uuid.uuid4().hex[:16], lineage)


def _short(function_arn: str) -> str:
    return hashlib.sha256(function_arn.encode()).hexdigest()[:8]

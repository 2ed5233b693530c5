"""The end of the story: figures and claims, as a table or as one JSON document."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from demo.claims import Claim
from demo.farshore import Document


@dataclass(frozen=True, slots=True)
class Restore:
    """One restore: what was restored, from which vault, and how long it took by both clocks."""

    what: str
    vault: str
    simulated: timedelta
    wall_seconds: float


@dataclass(slots=True)
class Report:
    """The figures, filled in as the story proceeds."""

    offsite: str
    days: int = 35
    wall_seconds: float = 0.0
    status: Mapping[str, Document] = field(default_factory=dict)
    restores: dict[str, Restore] = field(default_factory=dict)
    calls_per_backup: dict[str, dict[str, int]] = field(default_factory=dict)
    calls_per_tick: float = 0.0
    calls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reasons: list[Mapping[str, Any]] = field(default_factory=list)
    outage: list[datetime] = field(default_factory=list)
    replaced_at: datetime | None = None
    """When the instance that was replaced was backed up for the last time."""

    @property
    def outage_lasted(self) -> tuple[datetime, datetime] | None:
        """The beginning and end of the outage; None in a story without one."""
        return (self.outage[0], self.outage[1]) if self.outage else None

    @property
    def calls_in_all(self) -> int:
        """Count every call the app made."""
        return total(self.calls)

    def to_document(self, claims: Sequence[Claim]) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "true": bool(claims) and all(claim.true for claim in claims),
            "claims": [{"name": each.name, "true": each.true, "seen": each.seen} for each in claims],
            "services": {name: self._service(name) for name in sorted(self.status)},
            "calls": {
                "total": self.calls_in_all,
                "idle_tick": self.calls_per_tick,
                "by_operation": self.calls,
            },
            "reasons": self.reasons,
            "offsite": self.offsite,
            "simulated_days": self.days,
            "wall_seconds": round(self.wall_seconds, 1),
        }

    def _service(self, name: str) -> dict[str, Any]:
        status, restore = self.status[name], self.restores.get(name)
        return {
            "recovery_points": status["points"],
            "rpo": status["rpo"],
            "restore": restore
            and {
                "what": restore.what,
                "vault": restore.vault,
                "simulated_seconds": restore.simulated.total_seconds(),
                "wall_seconds": round(restore.wall_seconds, 2),
            },
            "calls_per_backup": self.calls_per_backup.get(name, {}),
        }

    def to_text(self, claims: Sequence[Claim]) -> str:
        """Return the table, and below it the false claims."""
        false = [claim for claim in claims if not claim.true]
        lines = [*aligned(list(self._points())), "", *aligned(list(self._services())), ""]
        lines.append(
            f"{self.calls_in_all:,} AWS calls by the app in {self.days} days, "
            f"{self.calls_per_tick:g} in an idle tick;"
        )
        lines.append("a backup's are those for its copies and its lifecycle, too.")
        lines.append(f"{self.wall_seconds:.0f} s from the first line to the last.")
        lines.append(f"{len(claims) - len(false)} of {len(claims)} claims are true.")
        lines += [f"NOT TRUE: {claim.name}: {claim.seen}" for claim in false]
        return "\n".join(lines)

    def _points(self) -> Iterator[Sequence[str]]:
        yield ("service", "kind", "recovery points")
        for name in sorted(self.status):
            for number, (kind, vaults) in enumerate(sorted(self.status[name]["points"].items())):
                there = ", ".join(f"{vault} {count}" for vault, count in vaults.items())
                yield (name if number == 0 else "", kind, there)

    def _services(self) -> Iterator[Sequence[str]]:
        yield ("service", "RPO", "achieved", "restored", "in", "calls per backup")
        for name in sorted(self.status):
            rpo, restore = self.status[name]["rpo"], self.restores.get(name)
            calls = self.calls_per_backup.get(name, {}).items()
            yield (
                name,
                spoken_text(rpo["objective"]),
                spoken_text(rpo["achieved"]),
                f"{restore.what} from {restore.vault}" if restore else "",
                spoken(restore.simulated) if restore else "",
                ", ".join(f"{rule} {count}" for rule, count in calls),
            )


def total(calls: Mapping[str, Mapping[str, int]]) -> int:
    """Return the number of calls of all services and operations."""
    return sum(sum(operations.values()) for operations in calls.values())


def spoken(long: timedelta) -> str:
    """Return a duration in words, in its two largest units: `11 h 2 min`, `42 s`, `7 d`."""
    seconds = round(long.total_seconds())
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            parts.append(f"{seconds // size} {unit}")
        seconds %= size
    return " ".join(parts[:2]) or "0 s"


def spoken_text(text: str | None) -> str:
    """Return a duration of the API (`39600s`, `1d`) in words."""
    return "none" if text is None else spoken(duration(text))


def duration(text: str) -> timedelta:
    """Return the duration in a text, as plans and the API write it."""
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86_400}[text[-1]]
    return timedelta(seconds=int(text[:-1]) * unit)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows laid out in columns, with a line below the first."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines

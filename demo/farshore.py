"""The app as its users see it: its HTTP API."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from demo.ground import Server

PAGE = "100"
Document = Mapping[str, Any]


def moment(text: str) -> datetime:
    """Return the time in an answer of the API."""
    return datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class Farshore:
    """Sends requests to the API and returns its documents."""

    api: Server

    def put_plan(self, name: str, plan: Document) -> Document:
        """Send a plan."""
        answer: Document = self.api.ask("PUT", f"/plans/{quote(name, safe='')}", plan)
        return answer

    def back_up(self, plan: str, rule: str, key: str) -> tuple[str, ...]:
        """Request a backup now and return its jobs; the same key gives the same ones."""
        answer = self.api.ask("POST", "/backups", {"plan": plan, "rule": rule}, Idempotency_Key=key)
        return tuple(answer["jobs"])

    def restore(self, key: str, **order: Any) -> str:
        """Request a restore and return its job."""
        answer = self.api.ask("POST", "/restores", order, Idempotency_Key=key)
        [job] = answer["jobs"]
        return str(job)

    def job(self, job_id: str) -> Document:
        """Return a job."""
        answer: Document = self.api.get(f"/jobs/{quote(job_id, safe='')}")
        return answer

    def jobs(self, since: datetime | None = None, **filters: str) -> list[Document]:
        """Return jobs, newest first; with `since`, those created then or later."""
        found: list[Document] = []
        for job in self._all("/jobs", filters):
            if since is not None and moment(job["created_at"]) < since:
                break
            found.append(job)
        return found

    def points(self, **filters: str) -> list[Document]:
        """Return recovery points, newest first, including deleted ones."""
        return list(self._all("/recovery-points", filters))

    def status(self) -> dict[str, Document]:
        """Return the status of each service, by service."""
        return {each["service"]: each for each in self.api.get("/status")["items"]}

    def inventory(self) -> list[Document]:
        """Return the findings of the daily inventories."""
        return list(self._all("/inventory", {}))

    def _all(self, path: str, filters: Mapping[str, str]) -> Iterator[Document]:
        cursor: dict[str, str] = {}
        while True:
            page = self.api.get(path, limit=PAGE, **filters, **cursor)
            yield from page["items"]
            if page["cursor"] is None:
                return
            cursor = {"cursor": page["cursor"]}


def artefact(point: Document, vault: str) -> Document | None:
    """Return a point's artefact in a vault; None if it is not available there."""
    for each in point["artefacts"]:
        if each["vault"] == vault and each["state"] == "AVAILABLE":
            found: Document = each
            return found
    return None

"""The tick's part that tells operators what began or ended: a failing backup, a missed RPO.

Services of one plan and rule to which the same happened share one message, so that a fleet that fails is one
mail and not ten thousand.

Invariant: what is published was claimed before and is settled after; a tick that dies between the two is the
only cause of a message that comes twice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

from chalicelib.aws.topic import Topic
from chalicelib.catalog.store.notices import About, Notice, NoticeStore
from chalicelib.jobs.tick import DueWork, isolated
from chalicelib.observability import logger

# A message has at most 256 KiB, and says everything twice: as text and as a document.
SERVICES_NAMED = 25


@dataclass(frozen=True, slots=True)
class Message:
    """What is published: to mail addresses the subject and the text, to programs the document."""

    subject: str
    text: str
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NoticeSender:
    """Tells what is news; `topic` is None where nobody is to be told but the log."""

    notices: NoticeStore
    topic: Topic | None
    stage: str
    now: Callable[[], datetime]

    def run(self, due: DueWork) -> None:
        """Tell the troubles that are due to be told.

        Raises:
            Exception: some could not be told and are told again later; the others were.
        """
        if not due.notices:
            return
        found = self.notices.read(due.notices)
        self.notices.settle([each for each in found if each.wake_at is not None and not each.is_news])
        tasks = (
            (f"{about}/{plan}/{rule}", partial(self._tell, alike))
            for (about, plan, rule, _), alike in _alike(each for each in found if each.is_news)
        )
        isolated(tasks, "notice")

    def _tell(self, alike: Sequence[Notice]) -> None:
        claimed = self.notices.claim(alike, self.now())
        if not claimed:
            return
        message = message_of(claimed, self.stage)
        logger().info("notice", extra={"notice": message.document})
        if self.topic is not None:
            event = str(message.document["event"])
            self.topic.publish(message.subject, message.text, message.document, event=event)
        self.notices.settle(claimed)


def _alike(news: Iterable[Notice]) -> list[tuple[tuple[str, str, str, bool], list[Notice]]]:
    """Return what can be told in one message: the same that happened to services of one plan and rule."""

    def what(notice: Notice) -> tuple[str, str, str, bool]:
        trouble = notice.trouble
        return trouble.about, trouble.plan, trouble.rule, notice.over_at is not None

    ordered = sorted(news, key=lambda each: (what(each), each.trouble.service))
    return [(key, list(alike)) for key, alike in groupby(ordered, what)]


def message_of(alike: Sequence[Notice], stage: str) -> Message:
    """Return the message that tells these troubles, which are alike. Pure."""
    first = alike[0]
    trouble, is_over, others = first.trouble, first.over_at is not None, len(alike) - 1
    services = trouble.service if not others else f"{len(alike)} services"
    what = _WHAT[trouble.about, is_over]
    where = f"plan {trouble.plan}" + (f", rule {trouble.rule} ({trouble.kind})" if trouble.rule else "")
    named, unnamed = alike[:SERVICES_NAMED], max(0, len(alike) - SERVICES_NAMED)
    lines = [f"{services}: {what} ({where}).", "", *(_line(each) for each in named)]
    lines += [f"... and {unnamed} more services"] if unnamed else []
    document = {
        "event": f"{trouble.about}-{'recovered' if is_over else 'failed'}",
        "stage": stage,
        "plan": trouble.plan,
        "rule": trouble.rule or None,
        "kind": trouble.kind or None,
        "services": [_described(each) for each in named],
        "more": unnamed,
    }
    return Message(f"Farshore {stage}: {services}: {what}", "\n".join((*lines, "")), document)


_WHAT = {
    (About.BACKUP, False): "its backup fails",
    (About.BACKUP, True): "its backup succeeds again",
    (About.RPO, False): "it is beyond its RPO",
    (About.RPO, True): "it is within its RPO again",
}


def _line(notice: Notice) -> str:
    since = f"{notice.since:%Y-%m-%d %H:%M} UTC"
    if notice.over_at is not None:
        over = f"{notice.over_at:%Y-%m-%d %H:%M} UTC"
        return f"- {notice.trouble.service}: since {over}. At {since} it was: {notice.reason}"
    return f"- {notice.trouble.service}: at {since}: {notice.reason}\n  What to do: {_remedy(notice)}"


def _described(notice: Notice) -> dict[str, Any]:
    return {
        "service": notice.trouble.service,
        "since": f"{notice.since:%Y-%m-%dT%H:%M:%SZ}",
        "over_at": f"{notice.over_at:%Y-%m-%dT%H:%M:%SZ}" if notice.over_at else None,
        "reason": notice.reason,
        "job": notice.job or None,
        "remedy": _remedy(notice) if notice.over_at is None else None,
    }


def _remedy(notice: Notice) -> str:
    """Return what an operator can do; the reason itself says what to mend."""
    trouble = notice.trouble
    if trouble.about is About.BACKUP:
        return (
            f"mend what the reason names (GET /jobs/{notice.job} has all of it). A scheduled backup is tried "
            f'again within its period; POST /backups {{"plan": "{trouble.plan}", "rule": "{trouble.rule}"}} '
            "does it now"
        )
    return (
        f"GET /status?service={trouble.service} shows the newest points by vault; GET /jobs?service="
        f"{trouble.service}&state=FAILED what failed"
    )

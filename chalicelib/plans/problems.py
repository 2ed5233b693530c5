"""What is wrong with a plan's document, in words: all of it at once, each with its place, value and remedy.

`find_problems` joins what pydantic found with the rules that tie several keys together. Invariant: one
problem per place; no text of pydantic's reaches the user.
"""

import difflib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from chalicelib.errors import Problem
from chalicelib.plans.document import SHRINK

PRIMARY = "primary"
LATER = "not supported yet; leave it out"
_NAME = "a name: 1 to 64 letters, digits, _ . or -, beginning with a letter or a digit"
_AMOUNT = "a whole number from 1 to 100000"
_DURATION = "a duration such as 90s, 15m, 1h or 30d"
_TAGS = 'a mapping from tag keys to a text or a list of texts, such as {app: orders, env: [prod, "stage*"]}'
_SCRIPT = "a path on the instance that begins with / or ./, or the text of a script"
_LIFECYCLE = (
    "a mapping with exactly one of keep, count and age, such as {count: 7} or {keep: {daily: 7, weekly: 5}}"
)
_PERIODS = ("hourly", "daily", "weekly", "monthly", "yearly")

# Every key, by its place in the document, and what belongs there. `*` is any place in a list.
_RULE = {
    "name": _NAME,
    "kind": "snapshot or service",
    "schedule": '"cron(...)" or "rate(...)", such as "cron(15 2 * * ? *)"',
    "timezone": "a time zone of the IANA database, such as UTC or Europe/Berlin",
    "retry": "a mapping, such as {attempts: 3, pause: 15m}",
    "retry/attempts": "how often a failed run is tried again: 0 to 10",
    "retry/pause": "how long until it is tried again: 1m to 1d",
    "rpo": _DURATION,
    "lifecycle": _LIFECYCLE,
    "copies": "a list of at most 20 copies, such as [{vault: dr}]",
    "copies/*": "a mapping, such as {vault: dr}",
    "copies/*/vault": "the name of a vault",
    "copies/*/lifecycle": _LIFECYCLE,
}
_ONE_KIND = {
    "volumes": ("snapshot", "a mapping, such as {boot: false, exclude_tags: {scratch: 'true'}}"),
    "volumes/boot": ("snapshot", "true or false"),
    "volumes/exclude_tags": ("snapshot", _TAGS),
    "script": ("service", _SCRIPT),
    "restore": ("service", _SCRIPT),
    "verify": ("service", _SCRIPT),
    "target": ("service", "one"),
    "timeout": ("service", _DURATION),
    "output": ("service", "pipe or file"),
    "working_directory": ("service", "a directory on the instance"),
    "expect": ("service", "a mapping, such as {min_bytes: 1000000, shrink: 50%}"),
    "expect/min_bytes": ("service", "a whole number of bytes, 1 or more"),
    "expect/shrink": ("service", SHRINK),
}
_LIFECYCLE_KEYS = {
    "keep": "a mapping with at least one of hourly, daily, weekly, monthly and yearly, such as {daily: 7}",
    **{f"keep/{period}": _AMOUNT for period in _PERIODS},
    "count": _AMOUNT,
    "age": _DURATION,
    "min_keep": _AMOUNT,
    "manual": "a mapping, such as {count: 5}",
    "manual/count": _AMOUNT,
}
KEYS: Mapping[str, str] = {
    "name": _NAME,
    "service": "a service's name, or {tag: KEY} for one service per value of that tag",
    "service/tag": "the key of a tag",
    "selection": "a mapping with tags, such as {tags: {app: orders}}",
    "selection/tags": _TAGS,
    "selection/exclude_tags": _TAGS,
    "objectives": "a mapping, such as {rpo: 1h, rto: 30m}",
    "objectives/rpo": _DURATION,
    "objectives/rto": _DURATION,
    "rules": "a list of 1 to 100 rules",
    "rules/*": "a mapping with name, kind, schedule or rpo, and lifecycle",
    **{f"rules/*/{key}": text for key, text in _RULE.items()},
    **{f"rules/*/{key}": text for key, (_, text) in _ONE_KIND.items()},
    **{f"rules/*/lifecycle/{key}": text for key, text in _LIFECYCLE_KEYS.items()},
    **{f"rules/*/copies/*/lifecycle/{key}": text for key, text in _LIFECYCLE_KEYS.items()},
}
# Keys of the design whose capability this version does not have: refused, never ignored.
NOT_YET = frozenset({"on_launch", "on_terminate", "rules/*/hooks", "rules/*/copies/*/encrypt_to"})

Place = tuple[str | int, ...]


def find_problems(
    document: Mapping[str, Any], errors: Sequence[ErrorDetails], vaults: Mapping[str, str] | None
) -> list[Problem]:
    """List every problem, in the order of the document's places."""
    found: dict[Place, Problem] = {}
    for place, value, expected in (
        *_unfit_values(document, ()),
        *_ties(document, vaults),
        *(_in_words(document, error) for error in errors),
    ):
        found.setdefault(place, Problem(_pointer(place), _shown(value), expected))
    return [found[place] for place in sorted(found, key=lambda place: [str(part) for part in place])]


Found = tuple[Place, Any, str]


def _in_words(document: Mapping[str, Any], error: ErrorDetails) -> Found:
    """Return one of pydantic's errors in our words."""
    place = _resolve(document, error["loc"], missing=error["type"] == "missing")
    if error["type"] == "missing":
        return place, None, f"required: {KEYS[_pattern(place)]}"
    value = error["input"]
    match error["type"]:
        case "extra_forbidden":
            return place, value, _unknown_key(document, place)
        case "invalid_key":
            return place, value, "keys are texts: quote it"
        case "union_tag_not_found":
            return (*place, "kind"), None, f"required: {KEYS['rules/*/kind']}"
        case "union_tag_invalid":
            kind = value.get("kind")
            return (*place, "kind"), kind, f"{KEYS['rules/*/kind']}{_near(kind, ('snapshot', 'service'))}"
        case "value_error":
            return place, value, str(error["ctx"]["error"])
    return place, value, _expected(place, value)


def _expected(place: Place, value: Any) -> str:
    pattern = _pattern(place)
    if pattern == "rules/*/target" and value == "each":
        return f"target: each is {LATER}, or say one"
    if pattern in KEYS:
        return KEYS[pattern]
    return KEYS[""] if not place else "a text, or a list of at least one text"


def _unknown_key(document: Mapping[str, Any], place: Place) -> str:
    pattern = _pattern(place)
    if pattern in NOT_YET:
        return LATER
    parent, _, key = pattern.rpartition("/")
    if parent == "rules/*" and key in _ONE_KIND:
        return f"belongs to rules of kind {_ONE_KIND[key][0]}; leave it out"
    siblings = [
        known.rpartition("/")[2]
        for known in KEYS
        if known.rpartition("/")[0] == parent and known.rpartition("/")[2] != "*"
    ]
    if parent == "rules/*":
        kind = _at(document, (*place[:-1], "kind"))
        siblings = [key for key in siblings if key not in _ONE_KIND or _ONE_KIND[key][0] == kind]
    return f"an unknown key{_near(key, siblings)}; the keys here are {', '.join(sorted(siblings))}"


def _near(text: Any, known: Collection[str]) -> str:
    near = difflib.get_close_matches(text, known, n=1) if isinstance(text, str) else []
    return f"; did you mean {near[0]}?" if near else ""


def _unfit_values(value: Any, place: Place, depth: int = 8) -> Iterator[Found]:
    """Find keys without a value (YAML's empty values, JSON's null) and texts that are no Unicode text."""
    if value is None:
        yield place, None, "has no value: write one, or leave the key out"
    elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        yield place, value, "a text without halves of surrogate pairs: such a text cannot be stored"
    for part, inner in _children(value) if depth else ():
        yield from _unfit_values(inner, (*place, part), depth - 1)


def _ties(document: Mapping[str, Any], vaults: Mapping[str, str] | None) -> Iterator[Found]:
    """Return what is wrong with keys that are right alone; what has the wrong type is passed over here."""
    rules = [
        (("rules", number), rule)
        for number, rule in _children(document.get("rules"))
        if isinstance(rule, dict)
    ]
    yield from _repeated(rules, "name", "every rule of a plan has a name of its own")
    for place, rule in rules:
        yield from _when(place, rule)
        yield from _lifecycle((*place, "lifecycle"), rule.get("lifecycle"))
        if "verify" in rule and "restore" not in rule:
            yield (
                (*place, "verify"),
                rule["verify"],
                "verify runs after restore: say restore too, or leave it out",
            )
        copies = [
            ((*place, "copies", n), copy)
            for n, copy in _children(rule.get("copies"))
            if isinstance(copy, dict)
        ]
        for where, copy in copies:
            yield from _vault((*where, "vault"), copy.get("vault"), vaults)
            yield from _snapshot_offsite((*where, "vault"), copy.get("vault"), rule.get("kind"), vaults)
            yield from _lifecycle((*where, "lifecycle"), copy.get("lifecycle"))
        yield from _repeated(copies, "vault", "a rule copies into a vault once")


def _when(place: Place, rule: Mapping[str, Any]) -> Iterator[Found]:
    if "schedule" in rule and "rpo" in rule:
        yield (*place, "rpo"), rule["rpo"], "a rule has exactly one of schedule and rpo: leave one out"
    if "schedule" not in rule and "rpo" not in rule:
        yield (*place, "schedule"), None, f"required: {KEYS['rules/*/schedule']}; or rpo, such as 1h"
    if "timezone" in rule and "schedule" not in rule:
        yield (*place, "timezone"), rule["timezone"], "a time zone belongs to a schedule: leave it out"
    if "retry" in rule and "schedule" not in rule:
        why = "leave it out: a rule that follows its RPO runs again by itself until it is met"
        yield (*place, "retry"), rule["retry"], why


def _lifecycle(place: Place, lifecycle: Any) -> Iterator[Found]:
    if not isinstance(lifecycle, dict):
        return
    if len([key for key in ("keep", "count", "age") if key in lifecycle]) != 1:
        yield place, lifecycle, _LIFECYCLE
    if lifecycle.get("keep") == {}:
        yield (*place, "keep"), {}, _LIFECYCLE_KEYS["keep"]


def _vault(place: Place, name: Any, vaults: Mapping[str, str] | None) -> Iterator[Found]:
    if vaults is None or not isinstance(name, str):
        return
    targets = sorted(set(vaults) - {PRIMARY})
    listed = (
        f"the vaults configured for copies are {', '.join(targets)}"
        if targets
        else "no other vault is configured"
    )
    if name == PRIMARY:
        yield place, name, f"every recovery point is made in primary, so it is not copied there; {listed}"
    elif name not in targets:
        yield place, name, f"not a configured vault{_near(name, targets)}; {listed}"


def _snapshot_offsite(
    place: Place, name: Any, kind: Any, vaults: Mapping[str, str] | None
) -> Iterator[Found]:
    if kind == "snapshot" and vaults is not None and isinstance(name, str) and vaults.get(name) == "libcloud":
        yield place, name, "copies of snapshots into another cloud are not supported yet: name an S3 vault"


def _repeated(items: Sequence[tuple[Place, Mapping[str, Any]]], key: str, expected: str) -> Iterator[Found]:
    seen: set[str] = set()
    for place, item in items:
        value = item.get(key)
        if isinstance(value, str):
            if value in seen:
                yield (*place, key), value, expected
            seen.add(value)


def _resolve(document: Any, loc: Place, *, missing: bool) -> Place:
    """Turn pydantic's location into a place in the document: parts that name its unions are not there."""
    place: list[str | int] = []
    here = document
    for position, part in enumerate(loc):
        if loc[0] == "rules" and position == 2:
            continue
        if missing and position == len(loc) - 1:
            place.append(part)
            break
        inner = dict(_children(here))
        if part in inner:
            place.append(part)
            here = inner[part]
    return tuple(place)


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _at(document: Any, place: Place) -> Any:
    for part in place:
        document = dict(_children(document)).get(part)
    return document


def _pattern(place: Place) -> str:
    return "/".join("*" if isinstance(part, int) else part for part in place)


def _pointer(place: Place) -> str:
    """Write a place as RFC 6901 does."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


def _shown(value: Any) -> Any:
    """Give back a value as JSON can carry it, and short."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        text = value = str(value)
    return value if len(text) <= 200 else f"{text[:200]}..."

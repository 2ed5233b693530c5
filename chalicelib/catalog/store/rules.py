"""The rules that jobs were opened under, each stored once under the hash of its text.

A job refers to its rule by this id, so that an inline script is stored once per version of a plan and not in
every job. Invariant: a rule stored under an id never changes.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import NewType

from chalicelib.catalog.store.table import Table
from chalicelib.errors import NotFound
from chalicelib.ids import fingerprint
from chalicelib.plans.model import Rule, read_rule

RuleId = NewType("RuleId", str)


class RuleStore:
    """Stores and reads rules."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, rules: Iterable[Rule]) -> dict[str, RuleId]:
        """Store the rules of a plan; return the id of each by its name."""
        texts = {rule.name: _text(rule) for rule in rules}
        documents = {_id(text): text for text in texts.values()}
        self._table.put_all(
            {"pk": f"rule#{id}", "sk": "rule", "format": 1, "document": text}
            for id, text in documents.items()
        )
        return {name: _id(text) for name, text in texts.items()}

    def get(self, rule_id: RuleId) -> Rule:
        """Return a rule; cached, because a warm worker reads the same ones again and again.

        Raises:
            NotFound: nothing was stored under this id.
        """
        return _read(self._table, rule_id)


@lru_cache(maxsize=1024)
def _read(table: Table, rule_id: RuleId) -> Rule:
    item = table.get(f"rule#{rule_id}", "rule")
    if item is None:
        raise NotFound("no such rule", operation="reading the catalog", resource=f"rule {rule_id}")
    return read_rule(json.loads(item["document"]))


def id_of(rule: Rule) -> RuleId:
    """Return the id that a rule has once it is stored."""
    return _id(_text(rule))


def _text(rule: Rule) -> str:
    return json.dumps(rule.document(), sort_keys=True)


def _id(text: str) -> RuleId:
    return RuleId(fingerprint(text))

"""The catalog in DynamoDB: one table, three indexes, a module for each kind of record.

| record | pk | sk | in the indexes |
|---|---|---|---|
| plan | `plan` | name | `wake` |
| job | `job#ID` | `job` | `by_type`, `by_service`, and `wake` while it is not over |
| recovery point | `point#ID` | `point` | `by_type`, `by_service` |
| lineage | `lineage` | plan, rule, service | |
| copy slots | `slots#REGION` | `in-use`, `held#ID`, `waiting#TIME#ID` | |
| idempotency | `idempotency#KEY` | `idempotency` | |
"""

from chalicelib.catalog.store.jobs import JobStore, Lease
from chalicelib.catalog.store.plans import PlanStore, StoredPlan
from chalicelib.catalog.store.points import Lineage, PointStore
from chalicelib.catalog.store.slots import CopySlots
from chalicelib.catalog.store.table import Page, Table
from chalicelib.catalog.store.wake import Overdue, overdue

__all__ = [
    "CopySlots",
    "JobStore",
    "Lease",
    "Lineage",
    "Overdue",
    "Page",
    "PlanStore",
    "PointStore",
    "StoredPlan",
    "Table",
    "overdue",
]

"""The catalog in DynamoDB: one table, three indexes, a module for each kind of record.

| record | pk | sk | in the indexes |
|---|---|---|---|
| plan | `plan` | name | `wake` |
| name of a plan that is gone | `gone-plan` | name | |
| rule, as jobs were opened under it | `rule#HASH` | `rule` | |
| instances of a large service | `instances#HASH` | number | |
| job | `job#ID` | `job` | `by_type`, `by_service`, and `wake` while it is not over |
| child of a job | `job#ID` | `child#ID` | |
| hashes of sent segments | `segments#JOB` | first number | |
| recovery point | `points#LINEAGE` | id | `by_type`, `by_service`, and `wake` while a copy of it is due |
| snapshots of a large point | `shards#POINT` | `VAULT#NUMBER` | |
| service; lineage; its vault | `services#PLAN` | service; rule, kind; vault | `wake`: a failed run |
| copy slots | `slots#REGION` | `slot#NUMBER`, `waiting#TIME#ID` | |
| lock | `lock#WHAT` | `lock` | |
| pace of a request bucket | `pace#REGION` | operation | |
| idempotency | `idempotency#KEY` | `idempotency` | |
| examinations of the stage | `examinations` | `probe#VAULT`, `event#REGION` | |

Every record has a `format`. Indexes hold keys and what lists are filtered by; what is shown or decided is
read from the table.
"""

from chalicelib.catalog.store.plans import PlanStore, StoredPlan
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.table import Page, Table

__all__ = ["Page", "PlanStore", "PointStore", "StoredPlan", "Table"]

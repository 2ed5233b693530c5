"""Lists the surveys of each place, in order: of a region, of a vault, of the catalog."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2
from chalicelib.catalog.location import Location
from chalicelib.catalog.store.findings import FindingStore
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.catalog.store.table import Table
from chalicelib.inventory.artefacts import ArtefactSurvey
from chalicelib.inventory.engine_records import OverdueSurvey, SlotSurvey
from chalicelib.inventory.folders import folders_of
from chalicelib.inventory.job_files import UploadSurvey, job_files_of
from chalicelib.inventory.leftovers import LeftoverSurvey
from chalicelib.inventory.snapshots import tagged_in, untagged_in
from chalicelib.inventory.survey import Survey
from chalicelib.inventory.volumes import VolumeSurvey
from chalicelib.jobs.claims import Claims
from chalicelib.jobs.store import JobStore
from chalicelib.vaults.vault import Vault


@dataclass(frozen=True, slots=True)
class SurveyedWorld:
    """What surveys read: EC2 by region, vaults by name, the region in which each keeps snapshots (None: it
    keeps none), and the regions that snapshots are copied into."""

    ec2: Callable[[str], Ec2]
    vault: Callable[[str], Vault]
    region_of: Mapping[str, str | None]
    copy_regions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Surveys:
    """Makes the surveys of a place, once, because they continue listings that cannot begin in the middle.

    `jobs` is a function because the job store is built from every handler, inventories among them.
    """

    world: SurveyedWorld
    table: Table
    points: PointStore
    services: ServiceStore
    findings: FindingStore
    claims: Claims
    jobs: Callable[[], JobStore]
    grace: timedelta
    now: Callable[[], datetime]
    _made: dict[str, Sequence[Survey]] = field(default_factory=dict)

    def of(self, place: Location) -> Sequence[Survey]:
        """Return the surveys of a place, in order.

        Raises:
            VaultMissing: the settings no longer name the vault.
        """
        if place.name not in self._made:
            if place.region is not None:
                made: Sequence[Survey] = self._of_region(place, self.world.ec2(place.region))
            elif place.vault is not None:
                made = self._of_vault(place, self.world.vault(place.vault))
            else:
                made = self._of_catalog()
            self._made[place.name] = made
        return self._made[place.name]

    def _of_region(self, place: Location, ec2: Ec2) -> Sequence[Survey]:
        jobs = self.jobs()
        return (
            tagged_in(ec2, self.points, jobs, self.grace),
            untagged_in(ec2, self.points, jobs, self.grace),
            VolumeSurvey(ec2, jobs),
            self._leftovers(place, None, ec2),
        )

    def _of_vault(self, place: Location, vault: Vault) -> Sequence[Survey]:
        region = self.world.region_of.get(vault.name)
        ec2 = self.world.ec2(region) if region else None
        parts = (vault, ec2, self.points, self.services, self.findings, self.now)
        return (
            ArtefactSurvey(*parts),
            folders_of(vault, self.points, self.grace),
            *self._of_uploads(vault),
            self._leftovers(place, vault, ec2),
            ArtefactSurvey(*parts, second=True),
        )

    def _of_uploads(self, vault: Vault) -> Sequence[Survey]:
        """Return the surveys of what jobs upload; jobs stage files only where there are uploads in parts."""
        if vault.uploads is None:
            return ()
        jobs = self.jobs()
        uploads = UploadSurvey(vault.name, vault.uploads, self.points, jobs, self.grace)
        return (uploads, *job_files_of(vault, jobs, self.grace))

    def _of_catalog(self) -> Sequence[Survey]:
        jobs = self.jobs()
        return (
            SlotSurvey(self.claims, jobs, self.world.copy_regions),
            OverdueSurvey(self.table, jobs, self.now),
        )

    def _leftovers(self, place: Location, vault: Vault | None, ec2: Ec2 | None) -> LeftoverSurvey:
        jobs = self.jobs()
        return LeftoverSurvey(place, self.findings, jobs, self.points, vault, ec2, self.grace, self.now)

"""The places that inventories are taken in. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """Where an inventory is taken: a region (EC2), a vault, or, with neither, the catalog itself."""

    region: str | None = None
    vault: str | None = None

    @property
    def name(self) -> str:
        """What names it to people, and in keys."""
        if self.region is not None:
            return f"region {self.region}"
        return f"vault {self.vault}" if self.vault is not None else "the catalog"


CATALOG = Location()

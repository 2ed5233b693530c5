"""The places that inventories examine. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """Where an inventory looks: a region (EC2), a vault, or, with neither, the catalog itself."""

    region: str | None = None
    vault: str | None = None

    @property
    def name(self) -> str:
        """The place's name, for people and as part of keys."""
        if self.region is not None:
            return f"region {self.region}"
        return f"vault {self.vault}" if self.vault is not None else "the catalog"


CATALOG = Location()

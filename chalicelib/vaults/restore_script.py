"""Keeps `restore.sh` in a vault: it restores recovery points without AWS and without Farshore."""

from importlib.resources import files

from chalicelib.vaults.layout import RESTORE_SCRIPT_KEY
from chalicelib.vaults.vault import Vault


def put_restore_script(vault: Vault) -> None:
    """Store the script unless this version of it is there already."""
    script = files(__package__).joinpath("restore.sh").read_bytes()
    if vault.size(RESTORE_SCRIPT_KEY) is None or vault.get(RESTORE_SCRIPT_KEY) != script:
        vault.put(RESTORE_SCRIPT_KEY, script)

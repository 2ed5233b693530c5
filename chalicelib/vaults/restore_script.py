"""Keeps `restore.sh` in a vault: what opens its recovery points without AWS and without Farshore."""

from importlib.resources import files

from chalicelib.vaults.layout import RESTORE_SCRIPT_KEY
from chalicelib.vaults.vault import Vault


def put_restore_script(vault: Vault) -> None:
    """Store the script where it is not there yet, or is not the one of this version."""
    script = files(__package__).joinpath("restore.sh").read_bytes()
    if vault.size(RESTORE_SCRIPT_KEY) is None or vault.get(RESTORE_SCRIPT_KEY) != script:
        vault.put(RESTORE_SCRIPT_KEY, script)

"""Keeps `restore.sh` in a vault: what opens its recovery points without AWS and without Farshore."""

from importlib.resources import files

from chalicelib.vaults.layout import RESTORE_SCRIPT_KEY
from chalicelib.vaults.vault import Vault


def put_restore_script(vault: Vault) -> None:
    """Put the script into the vault unless it is there in this very length."""
    script = files(__package__).joinpath("restore.sh").read_bytes()
    if vault.size(RESTORE_SCRIPT_KEY) != len(script):
        vault.put(RESTORE_SCRIPT_KEY, script)

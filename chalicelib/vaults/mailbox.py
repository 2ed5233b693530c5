"""The mailbox of a run: objects in a vault through which the app and a script on an instance communicate.

    mailbox/<job>/letter-000001 ...  what the run may do for now: presigned URLs, and where the next letter is
    mailbox/<job>/parts              the size and hash of each part of a file that is restored
    mailbox/<job>/report             what the run has done

Whoever may list SSM commands can read them, so a command has only the address of one letter: two URLs, valid
for minutes, that get the letter and that replace it with `taken` and no other bytes. The run does both first
of all; from then on the address opens nothing. Every letter has the address of the next one, which is in no
command. There is always one letter ahead, kept fresh by the job's turns.

Invariant: a letter that was taken is never written again (the writes are conditional), or the run would wait
for the next one for ever.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from chalicelib.on_instance import TAKEN, TAKEN_MD5
from chalicelib.vaults.layout import mailbox_folder
from chalicelib.vaults.s3 import S3Vault

# How long the address in a command is valid: longer than SSM tries to deliver the command.
ADDRESS_LIVES: Final = timedelta(minutes=20)
# How long URLs in a letter are valid that take the next letter, a report or a part.
WRITES_LIVE: Final = timedelta(hours=1)
# How long URLs are valid that get a backup.
READS_LIVE: Final = timedelta(minutes=15)


Address = tuple[str, str]
"""Two presigned URLs: one gets a letter, one replaces it with `taken`."""


@dataclass(frozen=True, slots=True)
class LetterSeen:
    """The state of a letter in the mailbox."""

    etag: str
    taken: bool


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The mailbox of one job's run."""

    vault: S3Vault
    job: str

    @property
    def name(self) -> str:
        """The vault and folder, in words."""
        return f"{self.vault.name}:{mailbox_folder(self.job)}"

    def address(self, number: int, lives: timedelta = WRITES_LIVE) -> Address:
        """Return the presigned address of a letter, which may not be there yet."""
        key = self._letter(number)
        take = self.vault.presign_put(key, lives, content_md5=TAKEN_MD5)
        return self.vault.presign_get(key, lives), take

    def look(self, number: int) -> LetterSeen | None:
        """Return the state of a letter; None if it is not there."""
        found = self.vault.head(self._letter(number))
        return LetterSeen(found.etag, found.size_bytes == len(TAKEN)) if found else None

    def write(self, number: int, letter: str, replaces: str | None) -> None:
        """Write a letter that replaces the one whose ETag is `replaces`, or a new one if that is None.

        Raises:
            Conflict: another one is there by now: the letter was taken, or somebody else wrote it.
        """
        self.vault.put_over(self._letter(number), letter.encode(), replaces)

    def write_parts(self, parts: str) -> str:
        """Write the list of parts and return a presigned GET of it."""
        key = f"{mailbox_folder(self.job)}parts"
        self.vault.put(key, parts.encode())
        return self.vault.presign_get(key, WRITES_LIVE)

    def report_url(self) -> str:
        """Return the presigned PUT of the report."""
        return self.vault.presign_put(f"{mailbox_folder(self.job)}report", WRITES_LIVE)

    def report(self) -> bytes:
        """Return the report.

        Raises:
            NotFound: there is none.
        """
        return self.vault.get(f"{mailbox_folder(self.job)}report")

    def remove(self) -> None:
        """Remove all objects of the mailbox."""
        for stored in list(self.vault.list(mailbox_folder(self.job))):
            self.vault.delete(stored.key)

    def _letter(self, number: int) -> str:
        return f"{mailbox_folder(self.job)}letter-{number:06d}"

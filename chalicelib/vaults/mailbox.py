"""The mailbox of a run: objects in a vault, through which the app and a script on an instance talk.

    mailbox/<job>/letter-000001 ...  what the run may do for now: presigned URLs, and where the next letter is
    mailbox/<job>/parts              the size and hash of each part of a file that is restored
    mailbox/<job>/report             what the run has done

A command names the address of one letter, no more, as whoever may list commands reads it: two URLs that live
minutes, to get the letter, and to put `taken` in its place, those very bytes and no others. The run does so
first of all; from then on the address opens nothing. Every letter names the address of the next one, which
stands in no command: there is always one ahead, kept fresh by the job's turns.

Invariant: a letter that was taken is never written again (the writes are conditional), for the run would wait
for the next one for ever.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from chalicelib.on_instance import TAKEN, TAKEN_MD5
from chalicelib.vaults.layout import mailbox_folder
from chalicelib.vaults.s3 import S3Vault

# The address in a command: longer than SSM tries to deliver it.
ADDRESS_LIVES: Final = timedelta(minutes=20)
# What is written in a letter, and takes the next letter, a report or a part.
WRITES_LIVE: Final = timedelta(hours=1)
# What opens a backup.
READS_LIVE: Final = timedelta(minutes=15)


Address = tuple[str, str]
"""Two presigned URLs: one gets a letter, one puts `taken` in its place."""


@dataclass(frozen=True, slots=True)
class LetterSeen:
    """A letter as it lies in the mailbox."""

    etag: str
    taken: bool


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The mailbox of one job's run."""

    vault: S3Vault
    job: str

    @property
    def name(self) -> str:
        """Its vault and folder."""
        return f"{self.vault.name}:{mailbox_folder(self.job)}"

    def address(self, number: int, lives: timedelta = WRITES_LIVE) -> Address:
        """Presign the address of a letter, which may not be there yet."""
        key = self._letter(number)
        take = self.vault.presign_put(key, lives, content_md5=TAKEN_MD5)
        return self.vault.presign_get(key, lives), take

    def look(self, number: int) -> LetterSeen | None:
        """Look whether a letter is there, and taken."""
        found = self.vault.head(self._letter(number))
        return LetterSeen(found.etag, found.size_bytes == len(TAKEN)) if found else None

    def write(self, number: int, letter: str, replaces: str | None) -> None:
        """Write a letter, in place of the one whose ETag is `replaces`, or of none.

        Raises:
            Conflict: what is there by now is another: it was taken, or somebody wrote it.
        """
        self.vault.put_over(self._letter(number), letter.encode(), replaces)

    def write_parts(self, parts: str) -> str:
        """Write the list of parts, and presign its GET."""
        key = f"{mailbox_folder(self.job)}parts"
        self.vault.put(key, parts.encode())
        return self.vault.presign_get(key, WRITES_LIVE)

    def report_url(self) -> str:
        """Presign the PUT of the report."""
        return self.vault.presign_put(f"{mailbox_folder(self.job)}report", WRITES_LIVE)

    def report(self) -> bytes:
        """Read the report.

        Raises:
            NotFound: there is none.
        """
        return self.vault.get(f"{mailbox_folder(self.job)}report")

    def remove(self) -> None:
        """Remove all of it."""
        for stored in list(self.vault.list(mailbox_folder(self.job))):
            self.vault.delete(stored.key)

    def _letter(self, number: int) -> str:
        return f"{mailbox_folder(self.job)}letter-{number:06d}"

"""`python -m demo`: plays the story on a local cloud of its own and ends with a table.

With JSON=1, one JSON document goes to standard output and the progress to standard error. OFFSITE names the
off-site cloud (default: `local`). The exit code is 0 if every claim is true, and 1 if one is not or the story
could not be played to its end.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from demo.acts.scene_is_set import set_stage
from demo.claims import Claims
from demo.ground import NotStartedError, local_cloud
from demo.report import Report
from demo.story import play
from demo.telling import Teller

SHOWN_LINES = 40
TRY_NEXT = """\
To try next:
  make local                 a local cloud that stays up, for aws and curl
  OFFSITE=azurite make demo  with a real storage server as the other cloud
  make test                  all tests
  docs/plan.md               every key of a plan
  docs/deploy.md             how to deploy it"""


def main() -> int:
    """Play, report, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the local cloud is ended too
    as_json = os.environ.get("JSON", "") not in ("", "0")
    teller = Teller(sys.stderr if as_json else sys.stdout)
    report = Report(os.environ.get("OFFSITE") or "local")
    claims = Claims(teller.claim)
    with tempfile.TemporaryDirectory(prefix="farshore-demo-") as scratch:
        log = Path(scratch) / "local.log"
        try:
            perform(report, claims, teller, log)
        except NotStartedError:
            show_end(log)
            return 1
        except Exception:
            show_end(log)
            raise
        if not claims.all_true:
            show_end(log)
    if as_json:
        print(json.dumps(report.to_document(claims.made), indent=2))
    else:
        teller.act(6, "What there is")
        print(f"\n{report.to_text(claims.made)}\n\n{TRY_NEXT}")
    return 0 if claims.all_true else 1


def perform(report: Report, claims: Claims, teller: Teller, log: Path) -> None:
    """Play the whole story; the output of the local cloud goes to `log`."""
    began = time.monotonic()
    with (
        log.open("w") as said,
        local_cloud(report.offsite, said) as ground,
        set_stage(ground, teller, claims, report, log.parent) as stage,
    ):
        play(stage)
    report.wall_seconds = time.monotonic() - began


def show_end(log: Path) -> None:
    """Print the last lines of the local cloud's output."""
    print("\nThe last output of the local cloud and the app:", file=sys.stderr)
    with log.open() as lines:
        sys.stderr.writelines(deque(lines, SHOWN_LINES))


if __name__ == "__main__":
    sys.exit(main())

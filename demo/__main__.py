"""`python -m demo`: plays the story on a local cloud of its own, and ends with a table.

With JSON=1 one JSON document goes to standard output, and the progress to standard error. OFFSITE names the
off-site cloud (`local` unless set). The exit code is 0 when every claim is true, 1 when one is not or the
story could not be played to its end.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from demo.ground import local_cloud
from demo.report import Report
from demo.story import Story
from demo.telling import Teller


def main() -> int:
    """Play, report, and answer the exit code."""
    as_json = os.environ.get("JSON", "") not in ("", "0")
    offsite = os.environ.get("OFFSITE") or "local"
    teller = Teller(sys.stderr if as_json else sys.stdout)
    report = Report(offsite)
    with tempfile.TemporaryDirectory(prefix="farshore-demo-") as scratch, local_cloud(offsite) as ground:
        story = Story(ground, teller, report, Path(scratch))
        story.play()
    claims = story.claims
    if as_json:
        print(json.dumps(report.to_document(claims.made), indent=2))
    else:
        print(f"\n5. What there is\n\n{report.to_text(claims.made)}")
    return 0 if claims.all_true else 1


if __name__ == "__main__":
    sys.exit(main())

"""`python -m local`: the local cloud with the packaged app on it, until it is interrupted.

Ports come from AWS_PORT, API_PORT and CONTROL_PORT (0 or unset: any free one), the off-site cloud from
OFFSITE. When all is ready, one JSON line on standard output says where everything is; whatever else is said
goes to standard error.
"""

import gc
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from local.cloud import Cloud, Ports
from local.intrinsics import TemplateError
from local.stage import open_stage


def main() -> int:
    """Serve until SIGINT or SIGTERM; answer the exit code."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    gc.set_threshold(50_000, 20, 50)  # a cloud is a million objects that stay
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        ports = Ports(aws=port("AWS_PORT"), api=port("API_PORT"), control=port("CONTROL_PORT"))
        with tempfile.TemporaryDirectory(prefix="farshore-local-", ignore_cleanup_errors=True) as folder:
            serve(Path(folder), ports, stop)
    except (ValueError, OSError, TemplateError) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    return 0


def serve(root: Path, ports: Ports, stop: threading.Event) -> None:
    """Run the cloud below `root` until `stop` is set."""
    with open_stage(root, os.environ.get("OFFSITE") or "local") as stage, Cloud(root, ports=ports) as cloud:
        stage.deploy(cloud)
        threading.Thread(target=cloud.keep_up, name="pump", daemon=True).start()
        urls = {"aws": cloud.aws.url, "api": cloud.api.url, "control": cloud.control.url}
        print(json.dumps({**urls, "vaults": stage.where}), flush=True)
        stop.wait()


def port(name: str) -> int:
    """Read a port from the environment.

    Raises:
        ValueError: it is none.
    """
    text = os.environ.get(name) or "0"
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError(f"{name}={text!r} is not a port; write a number up to 65535, 0 for any free one")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

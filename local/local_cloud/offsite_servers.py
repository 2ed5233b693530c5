"""Real storage servers on loopback, if they are installed, as the other cloud on this machine.

Each runs in the foreground with its data in a folder of its own, and ends with its context. Azurite is npm's
`azurite`; Swift is Debian's packages (proxy, account, container and object server, one replica, tempauth).
"""

import getpass
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 60
# https://learn.microsoft.com/en-us/azure/storage/common/storage-connect-azurite#well-known-storage-account-and-key
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_SWIFT_SERVER = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_address = {folder}/no-syslog
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_SWIFT_PROXY = """\
[DEFAULT]
swift_dir = {folder}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_address = {folder}/no-syslog
[pipeline:main]
pipeline = catch_errors cache tempauth proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""


@dataclass(frozen=True, slots=True)
class StorageServer:
    """What opens a vault at a server: the provider's name, and the arguments of its driver."""

    provider: str
    options: Mapping[str, Any]
    credentials: Mapping[str, str]


@contextmanager
def azurite(folder: Path) -> Iterator[StorageServer]:
    """Run Azurite's blob service."""
    port = _free_port()
    command = ["azurite-blob", "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    with _running([*command, "--silent", "--skipApiVersionCheck", "--disableTelemetry"], port, folder):
        yield StorageServer(
            "azure_blobs",
            {"host": "127.0.0.1", "port": port, "secure": False},
            {"key": AZURITE_ACCOUNT, "secret": AZURITE_KEY},
        )


@contextmanager
def swift(folder: Path) -> Iterator[StorageServer]:
    """Run a Swift of one disk and one replica."""
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = of this machine\n")
    memcached, proxy = _free_port(), _free_port()
    with ExitStack() as servers:
        for kind in ("account", "container", "object"):
            port = _free_port()
            _build_ring(folder, kind, port)
            servers.enter_context(_swift_server(folder, kind, _SWIFT_SERVER, port=port))
        cache = ["memcached", "-l", "127.0.0.1", "-p", str(memcached), "-u", getpass.getuser()]
        servers.enter_context(_running(cache, memcached, folder))
        servers.enter_context(_swift_server(folder, "proxy", _SWIFT_PROXY, port=proxy, memcached=memcached))
        url = f"http://127.0.0.1:{proxy}"
        yield StorageServer(
            "openstack_swift",
            {
                "ex_force_auth_url": f"{url}/auth/v1.0",
                "ex_force_auth_version": "1.0",
                "ex_force_base_url": f"{url}/v1/AUTH_test",
            },
            {"key": "test:tester", "secret": "testing"},
        )


@contextmanager
def _swift_server(folder: Path, kind: str, template: str, **ports: int) -> Iterator[None]:
    conf = folder / f"{kind}.conf"
    conf.write_text(template.format(folder=folder, kind=kind, user=getpass.getuser(), **ports))
    with _running([f"swift-{kind}-server", str(conf)], ports["port"], folder):
        yield


def _build_ring(folder: Path, kind: str, port: int) -> None:
    builder = str(folder / f"{kind}.builder")
    for arguments in (
        ("create", "4", "1", "1"),
        ("add", f"r1z1-127.0.0.1:{port}/disk", "1"),
        ("rebalance",),
    ):
        command = ["swift-ring-builder", builder, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=START_SECONDS)


@contextmanager
def _running(command: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    """Run a server until the block ends; begin it when the server listens."""
    with (folder / f"{command[0]}.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        _await_listening(process, port)
        yield
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _await_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    pause = threading.Event()
    for _ in range(START_SECONDS * 20):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}; see its log")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            pause.wait(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen on {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""Real servers for the recipes, each in a folder of its own, on a socket there or on loopback."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.on_instance.conftest import wait_until


@dataclass(frozen=True, slots=True)
class Server:
    """A server under way, and what a client must have in its environment to find it."""

    process: "subprocess.Popen[bytes]"
    environment: Mapping[str, str]

    def client(self, *command: str) -> str:
        """Run a client as the root of an instance would, and return what it prints."""
        environment = {"PATH": os.environ["PATH"], **self.environment}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()

    def answers(self, *command: str) -> bool:
        """Return whether a client gets an answer."""
        try:
            self.client(*command)
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self) -> None:
        """End it, if it still runs."""
        self.process.terminate()
        self.process.wait(60)


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run PostgreSQL, with a superuser `postgres`."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1].parent
    with _folder("postgres") as (folder, user):
        _run(
            user,
            [f"{programs}/initdb", "--username=postgres", "--auth-local=trust", "-D", f"{folder}/data"],
        )
        command = [
            f"{programs}/postgres",
            "-D",
            f"{folder}/data",
            "-k",
            str(folder),
            "-c",
            "listen_addresses=",
        ]
        environment = {"PGHOST": str(folder)} | ({} if user else {"PGUSER": "postgres"})
        with _started(user, command, environment) as server:
            _wait(server, *as_postgres("psql", "-c", "SELECT 1", "postgres"))
            yield server


def as_postgres(*command: str) -> Sequence[str]:
    """Return a client of PostgreSQL, run as who may."""
    return ("runuser", "-u", "postgres", "--", *command) if os.geteuid() == 0 else command


@contextmanager
def pgbench(server: Server, database: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Have two clients write 200 transactions a second to a database that pgbench has initialised."""
    user = "postgres" if os.geteuid() == 0 else None
    command = ["pgbench", "--client=2", "--rate=200", "--time=600", "--no-vacuum", database]
    with _started(user, command, server.environment) as clients:
        yield clients.process


@contextmanager
def mariadb() -> Iterator[Server]:
    """Run MariaDB, which lets in through its socket whoever runs the tests.

    MYSQL_HOME names the folder of a my.cnf, which says where the socket is and comes behind those of /etc:
    https://mariadb.com/kb/en/configuring-mariadb-with-option-files/
    """
    own = pwd.getpwuid(os.geteuid()).pw_name
    daemon = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/libexec") or "mariadbd"
    with _folder("mysql") as (folder, user):
        options = [f"--datadir={folder}/data", "--no-defaults"]
        asked = [f"--user={user}"] if user else []
        _run(None, ["mariadb-install-db", options[1], options[0], f"--auth-root-socket-user={own}", *asked])
        command = [daemon, options[1], options[0], f"--socket={folder}/socket", "--skip-networking"]
        pid = f"--pid-file={folder}/pid"
        (folder / "my.cnf").write_text(f"[client]\nsocket={folder}/socket\n")
        with _started(user, [*command, pid], {"MYSQL_HOME": str(folder)}) as server:
            _wait(server, "mariadb", "--execute=SELECT 1")
            yield server


@contextmanager
def redis() -> Iterator[Server]:
    """Run Redis on a port of loopback, and name another free one for its restore."""
    port, restore_port = free_ports(2)
    with _folder("redis") as (folder, user):
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
        environment = {"REDIS_URL": f"redis://127.0.0.1:{port}", "RESTORE_PORT": str(restore_port)}
        with _started(user, ["redis-server", *options], environment) as server:
            _wait(server, "redis-cli", "-e", "-u", environment["REDIS_URL"], "PING")
            yield server


def free_ports(count: int) -> list[int]:
    """Find ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def _folder(user: str) -> Iterator[tuple[Path, str | None]]:
    """Make a folder that belongs to the user that a server runs as; None: to this one, who is not root.

    It has a short name, as the name of a socket has 107 characters at most; unix(7).
    """
    folder = Path(tempfile.mkdtemp(prefix="fs-"))
    runs_as = user if os.geteuid() == 0 else None
    try:
        folder.chmod(0o755)
        if runs_as:
            shutil.chown(folder, runs_as)
        yield folder, runs_as
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _started(user: str | None, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Server]:
    process = subprocess.Popen(
        command,
        user=user,
        group=user,
        cwd="/",
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(process, environment)
    try:
        yield server
    finally:
        server.stop()


def _run(user: str | None, command: Sequence[str]) -> None:
    subprocess.run(command, user=user, group=user, cwd="/", check=True, capture_output=True, timeout=120)


def _wait(server: Server, *command: str) -> None:
    wait_until(
        lambda: server.process.poll() is not None or server.answers(*command), "the server does not answer"
    )
    assert server.process.poll() is None, "the server has ended"

"""Real databases under load, on instances that their group replaces, with the plans of docs/recipes.md.

An instance is a directory, so what its image would have is put into its `usr/local/bin`, which comes first on
the PATH of scripts: clients that find the instance's own server, and for MariaDB a `mount` and a `systemctl`
that know one folder and one service. Servers and clients are the real ones, the plans are used word for word.
"""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest
import yaml

from stage import HOME_REGION
from tests.app.test_launches import reasons
from tests.on_instance import servers
from tests.on_instance.conftest import wait_until
from tests.on_instance.servers import Server
from tests.on_instance.test_recipes import SECTIONS
from tests.support.deployment import Deployment, Document
from tests.support.groups import HOOKS, Group

POSTGRESQL_CLIENTS = ("runuser", "pg_dump", "pg_restore", "psql", "createdb", "dropdb")
IN_SERVICE = "InService"


def recipe(*titles: str) -> Document:
    """Read a plan of docs/recipes.md; the keys of the later sections are added to those of the first."""
    plan: Document = {}
    for title in titles:
        plan |= yaml.safe_load(SECTIONS[title])
    return plan


def started_group(app: Deployment, plan: Document) -> Group:
    """Store the plan, and start a group of one instance that has the hooks which the plan names."""
    app.ask("PUT", f"/plans/{plan['name']}", plan, status=200)
    names = (plan["on_launch"]["hook"], plan["on_terminate"]["hook"])
    hooks = [{**hook, "LifecycleHookName": name} for hook, name in zip(HOOKS, names, strict=True)]
    return Group(app, hooks=hooks, device=None)


def put_command(instance: Path, name: str, text: str) -> None:
    """Put a shell script where an instance looks for commands first."""
    file = instance / "usr" / "local" / "bin" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\nset -eu\n{text}\n")
    file.chmod(0o755)


def put_clients(instance: Path, environment: Mapping[str, str], *names: str) -> None:
    """Have the clients on an instance find its server."""
    exports = "\n".join(f"export {name}={value}" for name, value in environment.items())
    for name in names:
        put_command(instance, name, f'{exports}\nexec {shutil.which(name)} "$@"')


@dataclass(slots=True)
class Machines:
    """The instances of a group; each is `booted` once, as soon as it is there and before its agent is."""

    app: Deployment
    group: Group
    boot: Callable[[str], None]
    known: set[str] = field(default_factory=set)

    def replacement(self, *, then: Callable[[], object] = lambda: None) -> str:
        """Let time pass until the only instance is a new one in service; call `then` each second."""
        before = frozenset(self.known)
        for _ in range(900):
            self.app.pass_time(seconds=1)
            states = self.group.states()
            for instance in states.keys() - self.known:
                if self.app.directory(instance).is_dir():
                    self.known.add(instance)
                    self.boot(instance)
            then()
            if list(states.values()) == [IN_SERVICE] and not before & states.keys():
                return next(iter(states))
        raise AssertionError((self.group.states(), self.app.jobs()))


# PostgreSQL, by file

BENCH = """
SELECT count(*), md5(string_agg(a::text, '' ORDER BY aid)) FROM pgbench_accounts a;
SELECT count(*), md5(string_agg(b::text, '' ORDER BY bid)) FROM pgbench_branches b;
SELECT count(*), md5(string_agg(t::text, '' ORDER BY tid)) FROM pgbench_tellers t;
SELECT count(*), md5(string_agg(h::text, '' ORDER BY h::text)) FROM pgbench_history h;
"""
"""The rows and the checksum of each table of pgbench's."""
SUMS = """
SELECT sum(abalance) FROM pgbench_accounts UNION SELECT sum(bbalance) FROM pgbench_branches
UNION SELECT sum(tbalance) FROM pgbench_tellers UNION SELECT sum(delta) FROM pgbench_history
"""
"""One row if no transaction is torn: each adds the same to an account, a branch, a teller and the history.
https://www.postgresql.org/docs/15/pgbench.html
"""


@dataclass(slots=True)
class Postgres:
    """A server for each instance."""

    app: Deployment
    stack: ExitStack
    servers: dict[str, Server] = field(default_factory=dict)

    def boot(self, instance: str) -> None:
        """Start the server of an instance, without any data."""
        server = self.stack.enter_context(servers.postgresql())
        self.servers[instance] = server
        put_clients(self.app.directory(instance), server.environment, *POSTGRESQL_CLIENTS)

    def client(self, instance: str, *command: str) -> str:
        return self.servers[instance].client(*servers.as_postgres(*command))

    def sql(self, instance: str, text: str, database: str = "orders") -> str:
        return self.client(instance, "psql", "-qAt", "-d", database, "-c", text)

    def fill(self, instance: str) -> None:
        """Make the service's database, with 100,000 accounts of pgbench's."""
        self.client(instance, "createdb", "orders")
        self.client(instance, "pgbench", "--initialize", "--quiet", "orders")
        self.sql(instance, "CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, 10) AS n")

    def load(self, instance: str, database: str, dump: Path) -> None:
        """Load a dump into a database of its own; the shell reads the file, which is not `postgres`'s."""
        self.client(instance, "createdb", "--template=template0", database)
        command = shlex.join(servers.as_postgres("pg_restore", "--exit-on-error", f"--dbname={database}"))
        self.servers[instance].client("sh", "-c", f"{command} <{dump}")


@pytest.fixture
def postgres(app: Deployment) -> Iterator[Postgres]:
    with ExitStack() as stack:
        yield Postgres(app, stack)


@pytest.mark.integration("postgresql")
def test_postgresql_under_load_is_saved_when_its_instance_goes_and_is_there_on_the_next(
    app: Deployment, postgres: Postgres, tmp_path: Path
) -> None:
    group = started_group(app, recipe("PostgreSQL", "PostgreSQL on an instance that is replaced"))
    machines = Machines(app, group, postgres.boot)
    first = machines.replacement()
    postgres.fill(first)

    with servers.pgbench(postgres.servers[first], "orders") as load:
        wait_until(lambda: int(postgres.sql(first, "SELECT count(*) FROM pgbench_history")) > 50, "no load")
        before = int(postgres.sql(first, "SELECT count(*) FROM pgbench_history"))
        group.replace(first)
        second = machines.replacement()
        assert load.poll() is None, "pgbench has ended"
        assert (after := int(postgres.sql(first, "SELECT count(*) FROM pgbench_history"))) > before
    postgres.servers[first].stop()

    assert second != first
    [(state, reason)] = reasons(app, "termination")
    assert (state, f"{first} was backed up" in reason) == ("COMPLETED", True)
    assert "its verify script passed" in reasons(app, "launch")[-1][1]
    restored = postgres.sql(second, BENCH)
    # What the vault has, restored by PostgreSQL's own tool alone, is what the new instance has.
    (point,) = app.points()
    assert point["origin"] == "termination"
    dump = tmp_path / "dump"
    dump.write_bytes(app.read("primary", point["artefacts"][0]["key"]))
    postgres.load(second, "witness", dump)
    assert restored == postgres.sql(second, BENCH, "witness")
    # It is of one moment: no transaction is torn, none that was over before the end began is missing.
    assert len(postgres.sql(second, SUMS).splitlines()) == 1
    assert before <= int(postgres.sql(second, "SELECT count(*) FROM pgbench_history")) < after
    assert postgres.sql(second, "SELECT count(*) FROM pgbench_accounts") == "100000"
    assert app.discrepancies() == []


@pytest.mark.long
@pytest.mark.integration("postgresql")
def test_postgresql_loses_no_row_that_was_there_before_its_last_backup(
    app: Deployment, postgres: Postgres
) -> None:
    group = started_group(app, recipe("PostgreSQL", "PostgreSQL on an instance that is replaced"))
    machines = Machines(app, group, postgres.boot)
    first = machines.replacement()
    postgres.fill(first)
    with servers.pgbench(postgres.servers[first], "orders"):
        wait_until(lambda: int(postgres.sql(first, "SELECT count(*) FROM pgbench_history")) > 50, "no load")
    had = postgres.sql(first, BENCH)

    group.replace(first)
    second = machines.replacement()

    postgres.servers[first].stop()
    assert postgres.sql(second, BENCH) == had


# MariaDB, by volume

INNODB = "--innodb-log-file-size=8M"
MOUNT = r"""
volume=vol-${1##*_vol}
test "$2" = /var/lib/mysql
test -L "@EBS@/$volume" # else it is not attached yet
ln -sT "$(readlink -f "@EBS@/$volume")" "@HERE@/mounted"
"""
SYSTEMCTL = r"""
test "$2" = mariadb
case $1 in
start)
  test -d "@HERE@/mounted"
  setsid mariadbd --no-defaults --datadir="@HERE@/mounted" --socket="@SHORT@/socket" \
    --pid-file="@HERE@/pid" --log-error="@HERE@/mariadb.log" --skip-networking @OPTIONS@ \
    </dev/null >/dev/null 2>&1 &
  until mariadb-admin --defaults-file="@SHORT@/my.cnf" ping >/dev/null 2>&1; do
    kill -0 $!
    sleep 0.1
  done
  ;;
stop) test ! -e "@HERE@/pid" || mariadb-admin --defaults-file="@SHORT@/my.cnf" shutdown ;;
esac
"""
FILL = """
CREATE DATABASE orders;
CREATE TABLE orders.orders (id INT PRIMARY KEY, what CHAR(32) NOT NULL);
INSERT INTO orders.orders SELECT seq, md5(seq) FROM orders.seq_1_to_5000;
CREATE TABLE orders.customers AS SELECT seq AS id, md5(seq) AS name FROM orders.seq_1_to_2000;
DELIMITER //
CREATE PROCEDURE orders.enter()
BEGIN
  DECLARE n INT DEFAULT 5000;
  LOOP
    SET n = n + 1;
    INSERT INTO orders.orders VALUES (n, md5(n));
  END LOOP;
END //
"""
"""Orders are entered one after another, each committed by itself: their number says what must be there."""
EXPECT = """
CREATE TABLE orders.expected LIKE orders.orders;
INSERT INTO orders.expected SELECT seq, md5(seq) FROM orders.seq_1_to_1000000
  WHERE seq <= (SELECT count(*) FROM orders.orders);
"""
"""Makes a table of what as many orders have to be."""


@dataclass(slots=True)
class Mariadb:
    """Instances with MariaDB installed and stopped, whose data directory is a volume."""

    app: Deployment
    short: Path
    """A folder whose name is short enough for sockets below it; unix(7)."""

    def boot(self, instance: str) -> None:
        """Put the commands of the image onto an instance."""
        here, short = self.app.directory(instance), self.short / instance
        short.mkdir()
        (short / "my.cnf").write_text(f"[client]\nsocket={short}/socket\n")
        as_root = "--user=root" if os.geteuid() == 0 else ""
        places = {
            "@HERE@": here,
            "@SHORT@": short,
            "@EBS@": self.app.cloud.root / "ebs" / "volumes",
            "@OPTIONS@": f"{INNODB} {as_root}",
        }
        commands = {
            "mount": MOUNT,
            "systemctl": SYSTEMCTL,
            "mountpoint": 'test -d "@HERE@/mounted"',
            "umount": 'rm "@HERE@/mounted"',
        }
        for name, text in commands.items():
            for place, path in places.items():
                text = text.replace(place, str(path))
            put_command(here, name, text)
        put_clients(here, {"MYSQL_HOME": str(short)}, "mariadb", "mariadb-check")

    def client(self, instance: str, *options: str) -> Sequence[str]:
        return ("mariadb", f"--defaults-file={self.short / instance / 'my.cnf'}", *options)

    def sql(self, instance: str, text: str) -> str:
        command = self.client(instance, "--batch", "--skip-column-names")
        ran = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60)
        return ran.stdout.strip()

    def make_volume(self, instance: str) -> None:
        """Attach a volume with a new data directory to an instance, and start its server."""
        ec2 = self.app.ec2()
        volume = ec2.create_volume(Size=1, AvailabilityZone="eu-central-1a")["VolumeId"]
        self.app.pass_time(seconds=10)
        ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdg")
        self.app.pass_time(seconds=10)
        own = pwd.getpwuid(os.geteuid()).pw_name
        as_root = f"--user={own} --auth-root-socket-user={own}"
        folder = self.app.directory(instance) / "volumes" / "sdg"
        self.run(
            instance,
            f"""mariadb-install-db --no-defaults {INNODB} --datadir={folder} {as_root}
            mount /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume.replace("-", "")} /var/lib/mysql
            systemctl start mariadb""",
        )

    def run(self, instance: str, script: str) -> None:
        """Run a script on an instance, as an operator would."""
        ssm = self.app.cloud.client("ssm", HOME_REGION)
        asked = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["set -e", script]}}
        sent = ssm.send_command(InstanceIds=[instance], **asked)["Command"]["CommandId"]
        self.app.pass_time(minutes=1)
        ended = ssm.get_command_invocation(CommandId=sent, InstanceId=instance)
        assert ended["Status"] == "Success", ended

    def process(self, instance: str) -> int:
        return int((self.app.directory(instance) / "pid").read_text())


@pytest.fixture
def mariadb(app: Deployment) -> Iterator[Mariadb]:
    with tempfile.TemporaryDirectory(prefix="fs-") as short:
        yield Mariadb(app, Path(short))


@contextmanager
def client_under_way(*command: str) -> Iterator[Popen[str]]:
    """Run a client in the background for as long as the context lasts."""
    with Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.long
@pytest.mark.integration("mariadb")
def test_mariadb_is_snapshotted_while_it_writes_and_recovers_on_the_next_instance(
    app: Deployment, mariadb: Mariadb
) -> None:
    group = started_group(app, recipe("MariaDB on an instance that is replaced"))
    machines = Machines(app, group, mariadb.boot)
    first = machines.replacement()
    mariadb.make_volume(first)
    mariadb.sql(first, FILL)
    customers = mariadb.sql(first, "CHECKSUM TABLE orders.customers")

    def entered() -> int:
        return int(mariadb.sql(first, "SELECT count(*) FROM orders.orders"))

    # One client commits all the time; what another has done to the customers is never committed.
    open_transaction = "BEGIN; DELETE FROM orders.customers; SELECT sleep(600)"
    with (
        client_under_way(*mariadb.client(first, f"--execute={open_transaction}")),
        client_under_way(*mariadb.client(first, "--execute=CALL orders.enter()")) as writer,
    ):
        wait_until(lambda: entered() > 5500, "nothing is written")
        wait_until(
            lambda: (
                mariadb.sql(
                    first,
                    "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_rows_modified >= 2000",
                )
                == "1"
            ),
            "there is no open transaction",
        )
        committed = entered()
        # A snapshot is of one instant; the local cloud copies file by file, so the writes stand still.
        os.kill(mariadb.process(first), signal.SIGSTOP)
        assert writer.poll() is None, "the writer has ended"
        group.replace(first)
        second = machines.replacement()

    assert second != first
    assert [state for state, _ in reasons(app, "termination")] == ["COMPLETED"]
    assert "its verify script passed" in reasons(app, "launch")[-1][1]
    assert "Starting crash recovery" in (log := (app.directory(second) / "mariadb.log").read_text()), log
    assert int(mariadb.sql(second, "SELECT count(*) FROM orders.orders")) >= committed
    mariadb.sql(second, EXPECT)
    found, expected = (
        mariadb.sql(second, f"CHECKSUM TABLE orders.{table}").split()[1] for table in ("orders", "expected")
    )
    assert found == expected
    assert mariadb.sql(second, "CHECKSUM TABLE orders.customers") == customers
    assert app.discrepancies() == []

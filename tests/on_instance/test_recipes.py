"""The scripts of docs/recipes.md, run by the runner against real servers: backed up, damaged, restored."""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from chalicelib.on_instance import (
    SCRIPT_EXITED,
    VERIFY_FAILED,
    BackupRun,
    RestoreRun,
    backup_command,
    restore_command,
)
from chalicelib.plans.model import ServiceRule, parse_plan
from chalicelib.settings import OffsiteVaultConfig, S3VaultConfig
from tests.jobs.made import NOON
from tests.on_instance import servers
from tests.on_instance.conftest import Bucket, Instance
from tests.on_instance.test_backup import MIB, report_of

S3, OFFSITE = S3VaultConfig.copy_methods, OffsiteVaultConfig.copy_methods
VAULTS = {
    "primary": S3VaultConfig.copy_methods,
    "dr": S3VaultConfig.copy_methods,
    "offsite": OffsiteVaultConfig.copy_methods,
}
PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n(?:.*\n)*?```yaml\n((?:.*\n)*?)```", PAGE, re.MULTILINE))
REPLACED = {"PostgreSQL on an instance that is replaced", "MariaDB on an instance that is replaced"}
"""The recipes that are tried with an Auto Scaling group, in tests/app/test_real_replacements.py."""


def recipe(title: str) -> ServiceRule:
    """Read the rule of a recipe, as `PUT /plans` would."""
    (rule,) = parse_plan(yaml.safe_load(SECTIONS[title]), vaults=VAULTS, now=NOON).rules
    assert isinstance(rule, ServiceRule)
    return rule


@dataclass(slots=True)
class Trial:
    """A recipe on an instance, with the environment in which its scripts find their server."""

    rule: ServiceRule
    instance: Instance
    bucket: Bucket
    environment: Mapping[str, str]
    jobs: int = 0
    said: str = ""

    def back_up(self) -> int:
        """Make a backup, which lies in the bucket then, and return the exit code."""
        self.bucket.parts.clear()
        self.bucket.write_backup_letter(1, (8 * MIB,) * 4)
        run = BackupRun(self._job(), "orders", self.rule.script, self.bucket.address(1), timedelta(minutes=5))
        ended = self.instance.run(self._exports() + backup_command(run))
        self.said = ended.stderr
        if ended.returncode == 0:
            report_of(ended.stdout, self.bucket)
            self.bucket.served = self.bucket.whole
        return ended.returncode

    def restore(self, script: str | None = None) -> int:
        """Restore and verify what is in the bucket, and return the exit code."""
        self.bucket.write_restore_letter(1)
        run = RestoreRun(
            self._job(),
            "orders",
            self.bucket.address(1),
            len(self.bucket.served),
            hashlib.sha256(self.bucket.served).hexdigest(),
            script or self.rule.restore or "",
            timedelta(minutes=5),
            verify=self.rule.verify,
        )
        ended = self.instance.run(self._exports() + restore_command(run))
        self.said = ended.stderr
        return ended.returncode

    def verify(self) -> int:
        """Verify alone, and return the exit code."""
        return self.restore("true")

    def _job(self) -> str:
        self.jobs += 1
        return f"job-{self.jobs}"

    def _exports(self) -> str:
        return "unset HOME\n" + "".join(
            f"export {name}={value}\n" for name, value in self.environment.items()
        )


@pytest.fixture
def dash(tmp_path: Path) -> Instance:
    """An instance whose `sh` is the plainest: the recipes bring their own shell."""
    directory, state = tmp_path / "srv", tmp_path / "state"
    directory.mkdir()
    state.mkdir()
    return Instance(("dash",), directory, state)


def test_every_recipe_is_tried() -> None:
    assert set(SECTIONS) == {"PostgreSQL", "MariaDB", "Redis", "A tree of files"} | REPLACED
    assert PAGE.count("```yaml") == len(SECTIONS)


@pytest.mark.integration("postgresql")
def test_postgresql_is_backed_up_restored_and_verified(dash: Instance, bucket: Bucket) -> None:
    with servers.postgresql() as server:

        def sql(text: str, database: str = "orders") -> str:
            return server.client(*servers.as_postgres("psql", "-qAt", "-d", database, "-c", text))

        trial = Trial(recipe("PostgreSQL"), dash, bucket, server.environment)
        sql("CREATE DATABASE orders", "postgres")
        sql("CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS what FROM generate_series(1, 5000) AS n")
        sql("CREATE TABLE customers (name text); INSERT INTO customers VALUES ('ü')")
        before = sql("SELECT sum(id), md5(string_agg(what, '' ORDER BY id)) FROM orders")

        assert trial.back_up() == 0, trial.said
        sql("DROP TABLE customers; DELETE FROM orders WHERE id > 10")
        assert trial.verify() == VERIFY_FAILED, trial.said
        assert trial.restore() == 0, trial.said
        assert sql("SELECT sum(id), md5(string_agg(what, '' ORDER BY id)) FROM orders") == before
        assert sql("SELECT name FROM customers") == "ü"
        sql("DELETE FROM orders")
        assert trial.verify() == VERIFY_FAILED, trial.said
        sql("DROP DATABASE orders", "postgres")
        assert trial.restore() == 0, trial.said  # onto a server that has none of it
        server.stop()
        assert trial.back_up() == SCRIPT_EXITED, trial.said


@pytest.mark.integration("postgresql")
def test_pg_dump_that_is_told_to_write_to_a_pipe_itself_is_told_what_helps(
    dash: Instance, bucket: Bucket
) -> None:
    with servers.postgresql() as server:
        script = 'pg_dump --username=postgres --format=custom --file="$2" postgres'
        trial = Trial(
            recipe("PostgreSQL").model_copy(update={"script": script}), dash, bucket, server.environment
        )

        assert trial.back_up() == SCRIPT_EXITED, trial.said
        assert "could not fsync file" in trial.said
        assert "set `output: file` in the rule, or let the command write to its standard output" in trial.said


@pytest.mark.integration("mariadb")
def test_mariadb_is_backed_up_restored_and_verified(dash: Instance, bucket: Bucket) -> None:
    with servers.mariadb() as server:

        def sql(text: str) -> str:
            return server.client("mariadb", "--batch", "--skip-column-names", f"--execute={text}")

        trial = Trial(recipe("MariaDB"), dash, bucket, server.environment)
        sql("CREATE DATABASE orders; CREATE TABLE orders.customers (name text)")
        sql("CREATE TABLE orders.orders AS SELECT seq AS id, md5(seq) AS what FROM orders.seq_1_to_5000")
        sql("CREATE PROCEDURE orders.clear() DELETE FROM orders.customers")
        before = sql("CHECKSUM TABLE orders.orders")

        assert trial.back_up() == 0, trial.said
        sql(
            "DROP TABLE orders.customers; DROP PROCEDURE orders.clear; DELETE FROM orders.orders WHERE"
            " id > 10"
        )
        assert trial.verify() == VERIFY_FAILED, trial.said
        assert trial.restore() == 0, trial.said
        assert sql("CHECKSUM TABLE orders.orders") == before
        assert sql("CALL orders.clear()") == ""
        sql("DELETE FROM orders.orders")
        assert trial.verify() == VERIFY_FAILED, trial.said
        sql("DROP DATABASE orders")
        assert trial.restore() == 0, trial.said
        server.stop()
        assert trial.back_up() == SCRIPT_EXITED, trial.said


@pytest.mark.integration("redis")
def test_redis_is_backed_up_restored_and_verified(dash: Instance, bucket: Bucket) -> None:
    with servers.redis() as server:

        def redis(*command: str) -> str:
            return server.client("redis-cli", "-e", "-u", server.environment["REDIS_URL"], *command)

        trial = Trial(recipe("Redis"), dash, bucket, server.environment)
        redis("MSET", *(f"k{number // 2}" for number in range(2000)))
        redis("SETEX", "session", "3600", "ü")

        assert trial.back_up() == 0, trial.said
        redis("FLUSHALL")
        redis("SET", "k1", "another")
        assert trial.verify() == VERIFY_FAILED, trial.said
        assert trial.restore() == 0, trial.said
        assert (redis("DBSIZE"), redis("GET", "k1"), redis("GET", "session")) == ("1001", "k1", "ü")
        assert "role:master" in redis("INFO", "replication")
        server.stop()
        assert trial.back_up() == SCRIPT_EXITED, trial.said


def test_a_tree_of_files_is_backed_up_restored_and_verified(dash: Instance, bucket: Bucket) -> None:
    rule = recipe("A tree of files")
    assert rule.working_directory == "/srv"  # which is where the instance of this test runs its scripts
    trial = Trial(rule, dash, bucket, {})
    tree = dash.directory / "orders"
    (tree / "a folder").mkdir(parents=True)
    (tree / "a folder" / "ü").write_bytes(bytes(range(256)) * 5000)
    (tree / "link").symlink_to("a folder/ü")
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o750)

    assert trial.back_up() == 0, trial.said
    (tree / "a folder" / "ü").write_bytes(b"damaged")
    (tree / "link").unlink()
    (tree / "new").touch()
    assert trial.verify() == VERIFY_FAILED, trial.said
    assert trial.restore() == 0, trial.said
    assert (tree / "link").read_bytes() == bytes(range(256)) * 5000
    assert (tree / "run").stat().st_mode & 0o777 == 0o750
    assert not (tree / "new").exists()
    assert (dash.directory / "orders.old" / "new").exists()
    shutil.rmtree(tree)
    assert trial.verify() == VERIFY_FAILED, trial.said
    assert trial.restore() == 0, trial.said  # onto an instance that has none of it
    shutil.rmtree(tree)
    assert trial.back_up() == SCRIPT_EXITED, trial.said

"""The orders: a SQLite database that is written to during the whole story, and a reader of copies.

Every transaction writes an order, and its amount to the ledger, so that an inconsistent copy is detected.
"""

import hashlib
import random
import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TABLES = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, article TEXT, cents INTEGER NOT NULL);
CREATE TABLE ledger (orders INTEGER NOT NULL, cents INTEGER NOT NULL);
INSERT INTO ledger VALUES (0, 0);
"""
FIRST_ORDERS = 10_000
PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a database file, and the hash of its bytes."""

    sha256: str
    rows: int
    integrity: str
    ledger_agrees: bool


def read(file: Path) -> Contents:
    """Return the contents of a database file to which nothing writes."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        integrity = "; ".join(row[0] for row in database.execute("PRAGMA integrity_check"))
        rows, cents = database.execute("SELECT count(*), sum(cents) FROM orders").fetchone()
        ledger = database.execute("SELECT orders, cents FROM ledger").fetchone()
    return Contents(sha256, rows, integrity, ledger == (rows, cents))


class OrderEntry:
    """A context manager that enters some dozens of orders a second into a database."""

    def __init__(self, file: Path, seed: int) -> None:
        """Create the database `file` with its first orders."""
        self._file = file
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows = 0
        self._error: sqlite3.Error | None = None
        with closing(sqlite3.connect(file)) as database:
            database.executescript(TABLES)
            for _ in range(FIRST_ORDERS):
                self._enter(database)
            database.commit()

    @property
    def rows(self) -> int:
        """Return how many orders are in the database.

        Raises:
            sqlite3.Error: an order could not be entered.
        """
        if self._error:
            raise self._error
        return self._rows

    def __enter__(self) -> Self:
        """Start to enter orders."""
        self.go_on(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, with the last order entered whole."""
        self.stop()

    def stop(self) -> None:
        """Stop, with the last order entered whole."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def go_on(self, file: Path) -> None:
        """Enter the next orders into `file`, which has all before them."""
        self._file = file
        self._stop.clear()
        self._thread = threading.Thread(target=self._write, name="orders", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        with closing(sqlite3.connect(self._file, timeout=60)) as database:
            try:
                while not self._stop.wait(PAUSE_SECONDS):
                    self._enter(database)
                    database.commit()
            except sqlite3.Error as error:
                self._error = error

    def _enter(self, database: sqlite3.Connection) -> None:
        cents = self._random.randrange(100, 100_000)
        order = (f"customer {self._random.randrange(5000)}", f"article {self._random.randrange(900)}", cents)
        database.execute("INSERT INTO orders (customer, article, cents) VALUES (?, ?, ?)", order)
        database.execute("UPDATE ledger SET orders = orders + 1, cents = cents + ?", (cents,))
        self._rows += 1

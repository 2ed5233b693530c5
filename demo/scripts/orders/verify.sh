#!/bin/sh
# Proves a restored database: SQLite finds no damage, and the ledger, which every order is entered in by the same
# transaction, agrees with the orders.
set -eu

python3 -c '
import sqlite3, sys
database = sqlite3.connect("file:orders.db?mode=ro", uri=True)
[(said,)] = database.execute("PRAGMA integrity_check").fetchall()
rows, total = database.execute("SELECT count(*), sum(cents) FROM orders").fetchone()
ledger = database.execute("SELECT orders, cents FROM ledger").fetchone()
print(said, rows, total, ledger)
sys.exit(said != "ok" or rows == 0 or ledger != (rows, total))
'

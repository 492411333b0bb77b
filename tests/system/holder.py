"""A program that holds a lock and writes for it into a database, and never asks whether it still holds it.

    python -m tests.system.holder URL FOLDER_OF_THE_DATABASE

It writes once when it has the lock and once for each line on its standard input, and says what became of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from peercron import SyncClient
from peercron.errors import LeaseLost
from tests.system.postgres import Database, binary

RESOURCE = "reports/db"
TTL = "1s"


def write(database: Database, token: int, text: str) -> str:
    """What became of a write with this token: "written", or what the database says."""
    script = f"BEGIN; SELECT fence('{RESOURCE}', {token}); INSERT INTO reports VALUES ({token}, '{text}'); COMMIT;"
    told = database.run(script)
    return "written" if told.returncode == 0 else " ".join(told.stderr.split())


def main(url: str, folder: str) -> None:
    database = Database(binary("psql") or "", Path(folder))
    try:
        with SyncClient(url) as client, client.lock(RESOURCE, ttl=TTL, wait="20s") as lock:
            print(lock.token, write(database, lock.token, "first"), flush=True)
            for line in sys.stdin:
                print(lock.token, write(database, lock.token, line.strip()), flush=True)
    except LeaseLost as error:
        print(error, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A PostgreSQL database that refuses a write with a stale fencing token.

Once, by whoever owns the database: run SCHEMA. Then each transaction that needs the lock calls `fence` first:

>>> with client.lock("reports/db") as lock, connection.transaction():                       # doctest: +SKIP
...     connection.execute("SELECT fence(%s, %s)", ("reports/db", lock.token))
...     connection.execute("INSERT INTO reports (day, content) VALUES (%s, %s)", (day, content))

A smaller token than one that was there before raises SQLSTATE PF001, and the transaction writes nothing. The row of the
resource stays locked until the transaction ends, so that a write with an older token is either before or refused: there
is no moment in between. A table of your own may have the column instead, for each of its rows: see COLUMN.
"""

from __future__ import annotations

from typing import Final

#: The error that a stale token raises.
STALE: Final = "PF001"

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS fences (
  resource text PRIMARY KEY,
  token bigint NOT NULL
);

CREATE OR REPLACE FUNCTION fence(wanted text, given bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO fences AS f (resource, token) VALUES (wanted, given)
    ON CONFLICT (resource) DO UPDATE SET token = EXCLUDED.token WHERE f.token <= EXCLUDED.token;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'stale fencing token % for %', given, wanted
      USING ERRCODE = 'PF001', HINT = 'somebody else holds the lock by now: stop';
  END IF;
END $$;
"""

#: The same for single rows, with no function and no second table: nothing is updated where the token is stale, and the
#: count of rows says so.
COLUMN: Final = """
UPDATE accounts SET balance = %(balance)s, fence = %(token)s
 WHERE id = %(id)s AND fence <= %(token)s
"""

"""A holder that is stopped past its time and goes on as if nothing had happened: the database refuses its write."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from peercron import SyncClient
from peercron.examples.postgresql import SCHEMA, STALE
from peercron.examples.service import holds
from tests.system.holder import RESOURCE, TTL, write
from tests.system.postgres import database, missing
from tests.system.processes import cluster_in

pytestmark = pytest.mark.timeout(120)


def test_a_holder_that_was_stopped_past_its_time_writes_nothing(tmp_path: Path) -> None:
    if why := missing():
        pytest.skip(why)
    with database() as reports, cluster_in(tmp_path, size=1) as cluster:
        assert reports.run(SCHEMA + "CREATE TABLE reports (token bigint, content text);").returncode == 0
        urls = ",".join(f"http://127.0.0.1:{node.http_port}" for node in cluster.nodes)
        command = [sys.executable, "-m", "tests.system.holder", urls, str(reports.folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            old, said = holder.stdout.readline().split()
            assert said == "written"
            holder.send_signal(signal.SIGSTOP)
            stopped_s = time.monotonic()
            with SyncClient(urls) as client, client.lock(RESOURCE, ttl="30s", wait="30s") as lock:
                assert time.monotonic() - stopped_s > 0.5, f"it was given away before its {TTL} were over"
                assert lock.token > int(old)
                assert write(reports, lock.token, "second") == "written"
                assert [holds(urls.partition(",")[0], RESOURCE, token) for token in (int(old), lock.token)] == [
                    False,
                    True,
                ]
                holder.send_signal(signal.SIGCONT)
                holder.stdin.write("late\n")
                holder.stdin.close()
                refused, lost = holder.stdout.readline(), holder.stdout.readline()
                assert write(reports, lock.token, "third") == "written"
            assert STALE in refused
            assert f"stale fencing token {old} for {RESOURCE}" in refused
            assert "lost" in lost or "renewed in time" in lost
        tokens = reports.rows("SELECT token FROM reports ORDER BY ctid")
        assert tokens == [old, str(lock.token), str(lock.token)]
        assert reports.rows("SELECT content FROM reports ORDER BY ctid") == ["first", "second", "third"]

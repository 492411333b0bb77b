"""testing: a cluster in a test: no processes, no sockets, and time that passes only when the test says so.

    from peercron.testing import LocalCluster

    def test_the_report_is_written() -> None:
        with LocalCluster(Report) as cluster:
            assert cluster.run("nightly-report").state == "succeeded"

What decides when and how often a job runs is the code that decides it in a real cluster: schedules, overlap, retries,
timeouts, misfires. The class runs in the test's own process; a job that sleeps for an hour is done at once.
"""

from __future__ import annotations

from peercron.testing.cluster import LocalCluster
from peercron.testing.loop import Stuck
from peercron.testing.outcome import Outcome

__all__ = ["LocalCluster", "Outcome", "Stuck"]

"""jobs: what users inherit from to have their Python code run by the cluster.

    from peercron import Job

    class Reindex(Job):
        name = "reindex"
        schedule = "*/10 * * * *"

        async def run(self, ctx):
            for page in range(ctx.last_checkpoint or 0, 100):
                index(page)
                await ctx.checkpoint(page + 1)

Nodes that are started with `--import MODULE` make jobs of the classes in it. The code runs in processes of its own,
never in a node's.
"""

from __future__ import annotations

from peercron.jobs.context import Facts, PlainRunContext, Reach, RunContext
from peercron.jobs.job import Job, cron, every, once, perform

__all__ = ["Facts", "Job", "PlainRunContext", "Reach", "RunContext", "cron", "every", "once", "perform"]

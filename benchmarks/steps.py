"""steps: the job that `resume` kills the nodes of: it says where it is, and keeps that as its checkpoint."""

from __future__ import annotations

import json
import time
from pathlib import Path

from peercron import Job, PlainRunContext

STEP_S = 0.05


class Steps(Job):
    name = "steps"

    def run(self, ctx: PlainRunContext) -> None:
        last = ctx.last_checkpoint
        step = last or 0
        with Path(ctx.params["file"]).open("a", encoding="utf-8") as told:
            while not ctx.cancelled.wait(STEP_S):
                line = {"attempt": ctx.attempt, "node": ctx.node, "step": step, "last": last, "ns": time.monotonic_ns()}
                told.write(json.dumps(line) + "\n")
                told.flush()
                step += 1
                ctx.checkpoint(step)

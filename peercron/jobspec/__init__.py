"""jobspec: jobs as people write them (jobs.toml, JSON bodies) to the core's definitions, and back.

>>> spec = read_job({"name": "hello", "every": "5s", "shell": "echo hello"})
>>> spec.definition.trigger
EveryTrigger(every_ms=5000, anchor_ms=0)
>>> render_job(spec.definition)
{'name': 'hello', 'every': '5s', 'shell': 'echo hello'}
"""

from __future__ import annotations

from peercron.jobspec.params import read_params
from peercron.jobspec.reading import JobsDocument, JobSpec, read_document, read_job
from peercron.jobspec.rendering import render_document, render_head, render_job

__all__ = [
    "JobSpec",
    "JobsDocument",
    "read_document",
    "read_job",
    "read_params",
    "render_document",
    "render_head",
    "render_job",
]

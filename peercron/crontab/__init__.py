r"""crontab: files of cron(8), as Debian reads them, to jobs; what cannot be the same is told line by line.

>>> report = convert("MAILTO=ops\n*/5 * * * * beat %hello\n", Options(timezone="UTC"))
>>> [(line.number, line.result.value) for line in report.lines]
[(1, 'environment'), (2, 'differs')]
"""

from __future__ import annotations

from peercron.crontab.report import Line, Options, Report, Result, convert

__all__ = ["Line", "Options", "Report", "Result", "convert"]

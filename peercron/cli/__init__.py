"""cli: the command line; each noun is a file that is loaded only when it is asked for, and the node never is."""

from __future__ import annotations

from peercron.cli.root import main

__all__ = ["main"]

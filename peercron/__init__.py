"""peercron: cron that outlives its machines."""

__version__ = "0.2.0"

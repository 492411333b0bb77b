"""peercron: cron that outlives its machines."""

__version__ = "0.1.0"

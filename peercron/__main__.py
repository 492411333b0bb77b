"""python -m peercron."""

from __future__ import annotations

from peercron.cli import main

if __name__ == "__main__":
    main()

"""Forms of a job: what the types of its tables do not say of their texts and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

REFINED: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = {}

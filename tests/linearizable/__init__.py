"""Whether a recorded history could have come from one copy that does one thing after another.

>>> history = [
...     Operation("c1", "k", 0, 1, "put", "a", 5),
...     Operation("c2", "k", 2, 3, "get", None, None),
... ]
>>> print(check(history, REGISTER))
k: no order of these explains the answers; it may have held anything before
         0 ..          1  c1           put 'a'                          -> 5
         2 ..          3  c2           get                              -> None
"""

from tests.linearizable.history import Operation, Undecided, Violation, ends
from tests.linearizable.locks import Lock
from tests.linearizable.models import REGISTER
from tests.linearizable.queues import FIFO
from tests.linearizable.search import Model, check

__all__ = [
    "FIFO",
    "REGISTER",
    "Lock",
    "Model",
    "Operation",
    "Undecided",
    "Violation",
    "check",
    "ends",
]

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

from tests.linearizable.history import Operation, Undecided, Violation
from tests.linearizable.models import MUTEX, REGISTER, expiry
from tests.linearizable.queues import FIFO, lapse
from tests.linearizable.search import Model, check
from tests.linearizable.semaphore import Semaphore

__all__ = [
    "FIFO",
    "MUTEX",
    "REGISTER",
    "Model",
    "Operation",
    "Semaphore",
    "Undecided",
    "Violation",
    "check",
    "expiry",
    "lapse",
]

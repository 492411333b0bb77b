"""Table: a dict that can be looked at as it was at one moment while it goes on, without having been copied."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final, Generic, TypeVar, cast
from weakref import WeakSet

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Final = object()


class Table(dict[K, V]):
    """As a dict, in every respect; `as_it_is` gives a view that later changes do not reach.

    A large table takes long to copy: most of its rows have to come from memory for that. A view costs its keys, and
    from then on, as long as somebody holds it, the first change of each row.

    >>> table = Table(a=1, b=2)
    >>> then = table.as_it_is()
    >>> table["a"], table["c"] = 10, 30
    >>> del table["b"]
    >>> dict(then), table
    ({'a': 1, 'b': 2}, {'a': 10, 'c': 30})
    """

    __slots__ = ("_views",)
    _views: WeakSet[View[K, V]] | None

    def __init__(self, *rows: Any, **more: Any) -> None:
        super().__init__(*rows, **more)
        self._views = None

    def as_it_is(self) -> View[K, V]:
        view = View(self)
        if self._views is None:
            self._views = WeakSet()
        self._views.add(view)
        return view

    def _save(self, key: K) -> None:
        """The row is about to change."""
        views = self._views
        if not views:
            self._views = None
            return
        row = self.get(key, _ABSENT)
        for view in views:
            view.save(key, row)

    def _save_all(self) -> None:
        for key in list(self):
            self._save(key)

    def __setitem__(self, key: K, value: V) -> None:
        if self._views is not None:
            self._save(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        if self._views is not None:
            self._save(key)
        super().__delitem__(key)

    def pop(self, key: K, *default: Any) -> Any:
        if self._views is not None:
            self._save(key)
        return super().pop(key, *default)

    def popitem(self) -> tuple[K, V]:
        if self._views is not None:
            self._save_all()
        return super().popitem()

    def clear(self) -> None:
        if self._views is not None:
            self._save_all()
        super().clear()

    def setdefault(self, key: K, default: Any = None) -> Any:
        if self._views is not None:
            self._save(key)
        return super().setdefault(key, default)

    def update(self, *rows: Any, **more: Any) -> None:
        if self._views is None:
            super().update(*rows, **more)
        else:
            for key, value in dict(*rows, **more).items():
                self[key] = value

    def __ior__(self, rows: Any) -> Table[K, V]:  # type: ignore[override,misc]
        self.update(rows)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Table[K, V]:
        return Table({deepcopy(key, memo): deepcopy(value, memo) for key, value in self.items()})


class View(Generic[K, V]):
    """The rows of a table as they were, in its order. Costs little to hold, and nothing any more when let go."""

    __slots__ = ("__weakref__", "_keys", "_saved", "_table")

    def __init__(self, table: Table[K, V]) -> None:
        self._table = table
        self._keys = list(table)
        #: Rows that have changed since, as they were.
        self._saved: dict[K, Any] = {}

    def save(self, key: K, row: Any) -> None:
        if key not in self._saved:
            self._saved[key] = row

    def keys(self) -> list[K]:
        return self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, key: K) -> V:
        row = self._saved[key] if key in self._saved else self._table.get(key, _ABSENT)
        if row is _ABSENT:
            raise KeyError(key)
        return cast("V", row)

    def items(self) -> Iterator[tuple[K, V]]:
        return ((key, self[key]) for key in self._keys)

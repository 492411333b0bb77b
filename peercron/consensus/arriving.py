"""Arriving: a snapshot that comes from the leader is read while it comes, and believed when it is whole."""

from __future__ import annotations

from typing import Protocol

from peercron.consensus.snapshots import header_end


class Restoration(Protocol):
    """A state that comes in and is not there yet."""

    def feed(self, chunk: bytes) -> None:
        """May raise whatever unproven bytes can bring about; then nothing more comes."""

    def take_over(self) -> None:
        """All has come, and is proven: now it is the machine's state. Raises what `restore` does."""


class Arriving:
    """Hands on what follows the header. What goes wrong counts only when all has come and is proven: until then these
    may be anybody's bytes.
    """

    def __init__(self, restoration: Restoration) -> None:
        self._restoration = restoration
        self._begun: bytes | None = b""
        self._failure: Exception | None = None

    def feed(self, chunk: bytes) -> None:
        if self._failure is not None:
            return
        try:
            if self._begun is not None:
                self._begun += chunk
                behind = header_end(self._begun)
                if behind is None:
                    return
                chunk, self._begun = self._begun[behind:], None
            self._restoration.feed(chunk)
        except Exception as error:  # noqa: BLE001 - raised in `take_over`
            self._failure = error

    def take_over(self) -> None:
        """All has come, and is proven. Raises what the machine cannot read of it."""
        if self._failure is not None:
            raise self._failure
        self._restoration.take_over()

"""The judge of a demo: which slots there had to be, by plain arithmetic, and which the ledger has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A sample job: what it is, and the slots that it has: every whole multiple of `every_ms`, or one at `at_ms`."""

    table: dict[str, Any]
    every_ms: int = 0
    at_ms: int = 0

    @property
    def name(self) -> str:
        return str(self.table["name"])

    @property
    def key(self) -> str:
        return f"default/{self.name}"

    def due(self, after_ms: int, through_ms: int) -> list[int]:
        """Its slots in (after, through]."""
        if not self.every_ms:
            return [self.at_ms] if after_ms < self.at_ms <= through_ms else []
        first = after_ms // self.every_ms + 1
        return [n * self.every_ms for n in range(first, through_ms // self.every_ms + 1)]


@dataclass(slots=True)
class Verdict:
    """What was found; the demo is well when nothing is missing, nothing doubled, and all has ended."""

    slots: int = 0
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    #: Sample jobs that are not what they were, and why they are not judged.
    aside: dict[str, str] = field(default_factory=dict)
    #: Jobs of who looks on, which nobody promised anything of.
    guests: list[str] = field(default_factory=list)
    #: Runs that were still alive when the demo had waited for long enough, and what each said.
    unended: list[str] = field(default_factory=list)
    second_attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    runs_of: Counter[str] = field(default_factory=Counter)

    @property
    def well(self) -> bool:
        return not self.missing and not self.doubled and not self.unended

    def summary(self) -> dict[str, Any]:
        """What was found, as data."""
        return {
            "slots": self.slots,
            "missing": self.missing,
            "doubled": self.doubled,
            "unended": self.unended,
            "not_judged": self.aside,
            "second_attempts": self.second_attempts,
            "outcomes": dict(self.outcomes),
        }

    def lines(self, nodes: Sequence[str]) -> Iterator[str]:
        """What was found, for people."""
        outcomes = ", ".join(f"{count} {word}" for word, count in sorted(self.outcomes.items()))
        yield f"{self.slots} slots: {outcomes}; {self.second_attempts} took a second attempt"
        yield from (f"  {name}  {self.runs_of[name]} runs" for name in nodes)
        yield from (f"{name} {why} meanwhile, and is not judged" for name, why in self.aside.items())
        if self.guests:
            yield f"not judged, as it is yours, and ended as it was: {', '.join(self.guests)}"
        for what, slots in (("missing", self.missing), ("doubled", self.doubled), ("not ended", self.unended)):
            yield f"{len(slots)} {what}{': ' + ', '.join(slots[:10]) if slots else ''}"

    def look(self, asked: Sequence[Asked], before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Asked]:
        """Those of the sample jobs that are still what they were; before and now: key -> job JSON."""
        for each in asked:
            was, is_ = before[each.key], now.get(each.key)
            if is_ is None:
                self.aside[each.name] = "was removed"
            elif (is_["uid"], is_["revision"]) != (was["uid"], was["revision"]):
                self.aside[each.name] = "was changed"
        self.guests = [key.removeprefix("default/") for key in now if key not in before]
        return [each for each in asked if each.name not in self.aside]

    def leave(self, runs: Rows) -> None:
        """Take in the runs that are not in the ledger yet."""
        for run in runs:
            waits = f": {run['reason']}" if run["reason"] else ""
            self.unended.append(f"{run['job'].removeprefix('default/')} {run['slot']} {run['state']}{waits}")

    def judge(self, asked: Asked, rows: Rows, *, after_ms: int, through_ms: int, kept: int) -> None:
        """Take in the ledger of one job, which keeps its last `kept` entries. Runs by hand are no slots."""
        if len(rows) >= kept:
            after_ms = max(after_ms, rows[0]["slot"] - 1)
        slots = [row for row in rows if not row["manual"]]
        counts = Counter(row["slot"] for row in slots)
        alive = tuple(f"{asked.name} {slot} " for slot in asked.due(after_ms, through_ms) if slot not in counts)
        self.missing += [slot.strip() for slot in alive if not any(run.startswith(slot) for run in self.unended)]
        self.doubled += [f"{asked.name} {slot}" for slot, count in counts.items() if count > 1]
        self.slots += len(counts)
        for row in slots:
            self.outcomes[row["outcome"]] += 1
            self.second_attempts += row["attempts"] > 1
            if row["node"]:
                self.runs_of[row["node"]] += 1

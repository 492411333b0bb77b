"""Work of modes: the jobs of some families, what their owners do to them, and programs beside them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from peercron.core.commands import DeleteJob, PauseJob, PutJob, PutQueue, ResumeJob, SetPool
from peercron.core.job import Definition
from peercron.core.once import Once
from peercron.errors import OutcomeUnknown, Refused
from peercron.http.asking import TIMEOUT_S
from peercron.node import Node
from tests.sim.whole.clients import Clients, Request, commit
from tests.sim.whole.modes import jobs
from tests.sim.whole.modes.goods import Fodder, Mail, Places, Stock
from tests.sim.whole.modes.weather import Weather
from tests.sim.whole.work import Change, Life, Work

#: Beside families of jobs: programs that use a queue, and locks.
PROGRAMS = ("mail", "places")
#: How many of both a seed has.
FAMILIES_DRAWN = 6
#: What owners do to jobs of a family, beside creating them; nothing where it would make a check less sharp.
DEEDS: dict[str, tuple[str, ...]] = {
    "turns": ("pause", "run", "run"),
    "contend": ("pause", "run", "run", "delete"),
    "parallel": ("pause", "run", "cancel", "cancel", "delete"),
    "slices": ("delete",),
    "standby": ("pause", "run"),
    "retried": ("pause", "run", "cancel"),
    "bounded": ("pause", "run", "cancel", "delete"),
    "exclusive": ("pause", "run", "cancel", "delete"),
}
#: A service that the checks of jobs look at.
SERVICE = "web"
#: After the last fault, so long is nothing done but what jobs do by themselves.
EPILOGUE_S = 60.0


@dataclass(frozen=True, slots=True)
class Outage:
    """A host's service did not work."""

    host: str
    from_s: float
    to_s: float


class ModesWork(Work):
    epilogue_s = EPILOGUE_S

    def __init__(self, clients: Clients, until_s: float) -> None:
        super().__init__(clients, until_s)
        self.rng = random.Random(f"modes {self.cluster.plan.seed}")
        self.weather = Weather()
        self.cluster.on_note = self.weather.hear
        drawn = self.rng.sample((*jobs.FAMILIES, *PROGRAMS), FAMILIES_DRAWN)
        self.families = self.cluster.plan.families or tuple(drawn)
        self.outages: list[Outage] = []
        self.stock, self.fodder = Stock(self), Fodder(self)
        self.mail, self.places = Mail(self), Places(self)
        self._asked = 0

    def start(self) -> None:
        self.cluster.note("families", *self.families)
        self.go(self._write_and_read("c0"))
        for name in self.families:
            if name in jobs.FAMILIES:
                self.go(self._keep_family(name))
        if "mail" in self.families:
            self.mail.start()
        if "places" in self.families:
            self.places.start()

    @property
    def settled(self) -> bool:
        """Nothing runs anywhere: jobs in slices are known to their nodes alone."""
        hosts = self.cluster.hosts.values()
        return all(not guardian.attempts for host in hosts for guardian in host.guardians)

    # For the programs beside.

    go = Work._go
    any_host = Work._any_host

    async def insist(self, request: Request) -> Any:
        """Until there is an answer; None: there was none in all the time."""
        return await self._insist(request)

    async def _insist(self, request: Request) -> Any:
        return await super()._insist(_when_all_can(request))

    def once(self, command: Any) -> Request:
        """A request that is carried out once, however often and wherever it is asked."""
        self._asked += 1
        key = f"o{self._asked}"

        async def request(node: Node) -> Any:
            done = await node.propose(command, TIMEOUT_S, Once(key, key.encode()))
            await node.wait_changed(done.index - 1, TIMEOUT_S)
            return done.value

        return request

    # Families.

    async def _keep_family(self, name: str) -> None:
        await asyncio.sleep(self.rng.uniform(5, 15))
        names = tuple(self.cluster.hosts)
        while not self.over:
            lives = await self._found(name, jobs.FAMILIES[name](self.rng, names))
            if not lives or name not in DEEDS:
                return
            if not await self._tend(name, lives):
                return
            await asyncio.sleep(self.rng.uniform(0, 10))

    async def _found(self, name: str, definitions: list[Definition]) -> list[Life]:
        """Create the family's jobs, and what they need."""
        if name == "bounded":
            await self._insist(write(SetPool(jobs.POOL, jobs.POOL_SIZE)))
        if name == "fed":
            await self._insist(write(PutQueue(jobs.NAMESPACE, jobs.FED_QUEUE, 30_000, 0)))
        begins = [definition for definition in definitions if name == "chain" and not definition.after]
        lives = []
        for definition in definitions:
            life = await self._put(definition, paused=True if definition in begins else None)
            if life is None:
                return []
            lives.append(life)
        self.lives += lives
        for definition in begins:  # now that all hear of them
            await self._insist(write(ResumeJob(f"{jobs.NAMESPACE}/{definition.name}")))
        if name == "condition":
            self.stock.start()
        if name == "fed":
            self.fodder.start()
        if name == "standby":
            self.go(self._break_services())
        return lives

    async def _put(self, definition: Definition, *, paused: bool | None) -> Life | None:
        call_s = self.now_s
        uid = await self._insist(_put_job(definition, paused=paused))
        if uid is None:
            return None
        return Life(uid, f"{definition.namespace}/{definition.name}", [Change(call_s, self.now_s, definition)])

    async def _tend(self, name: str, lives: list[Life]) -> bool:
        """Until all are deleted (True), or the time is over."""
        ends_s = self.now_s + self.rng.uniform(80, 250) if "delete" in DEEDS[name] else float("inf")
        while not self.over:
            await asyncio.sleep(self.rng.uniform(5, 40))
            if self.over:
                return False
            if self.now_s > ends_s:
                for life in reversed(lives):
                    await self._delete(life)
                return True
            deed = self.rng.choice(DEEDS[name])
            if deed != "delete":
                await self._do(deed, self.rng.choice(lives))
        return False

    async def _do(self, deed: str, life: Life) -> None:
        if deed == "pause":
            await self._change(life.pauses, write(PauseJob(life.key)), True)
            await asyncio.sleep(self.rng.uniform(1, 15))
            await self._change(life.pauses, write(ResumeJob(life.key)), False)
        elif deed == "run":
            await self._run(life)
        else:
            await self._cancel(life)

    async def _delete(self, life: Life) -> None:
        life.deleted = Change(self.now_s, float("inf"), None)
        if await self._insist(write(DeleteJob(life.key))) is not None:
            life.deleted.ack_s = self.now_s

    async def _break_services(self) -> None:
        while not self.over:
            await asyncio.sleep(self.rng.uniform(5, 40))
            if self.over:
                return
            host = self.any_host()
            self.cluster.note("breaks", host.name)
            from_s = self.now_s
            host.broken.add(SERVICE)
            await asyncio.sleep(self.rng.uniform(2, 30))
            host.broken.discard(SERVICE)
            self.cluster.note("mended", host.name)
            self.outages.append(Outage(host.name, from_s, self.now_s))


def write(command: Any) -> Request:
    async def request(node: Node) -> Any:
        return (await commit(node, command)).value

    return request


def _put_job(definition: Definition, *, paused: bool | None) -> Request:
    async def request(node: Node) -> Any:
        await commit(node, PutJob(definition, paused=paused))
        return node.state.job_uids[f"{definition.namespace}/{definition.name}"]

    return request


def _when_all_can(request: Request) -> Request:
    """A cluster that has just begun may not know yet that all its members speak the newest level."""

    async def patient(node: Node) -> Any:
        try:
            return await request(node)
        except Refused as error:
            if error.code != "unsupported":
                raise
            raise OutcomeUnknown("not all can do that yet") from None

    return patient


__all__ = ["ModesWork", "Outage", "write"]

"""guardian: the process beside the node that starts the attempts, keeps their time and ends them when the node cannot.

It lives in a session of its own, so that no terminal and no signal to the node's group reaches it, ignores TERM, and
goes when its socket to the node closes and the last attempt is dead. Once started it touches no disk and waits for
nobody. A defect in it is not survived but ends it: its shepherds then end their trees, and the node starts a new one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import selectors
import signal
import socket
import sys
import traceback
from typing import Any

from peercron.execution import attempt as attempts
from peercron.execution import kernel, orders
from peercron.execution.attempt import LOST, Attempt, Sentence
from peercron.execution.ending import Pace
from peercron.execution.lease import Lease, from_monotonic, now
from peercron.execution.limits import ORDERS_PER_TURN_MAX, REPORT_WAIT_S, RUNNING_MAX, WAIT_S_MAX
from peercron.execution.nodelink import NodeLink
from peercron.execution.processes import Process, below, look, strike, table
from peercron.execution.record import boot_id
from peercron.execution.shepherd import Pen, tend


class Guardian:
    def __init__(self, node: socket.socket, pen: Pen) -> None:
        self._pen = pen
        self._lease = pen.lease
        self._selector = selectors.DefaultSelector()
        self._node = NodeLink(node, self._selector, self._lose_node)
        self._attempts: dict[str, Attempt] = {}
        #: Every shepherd not yet reaped.
        self._shepherds: dict[int, Attempt] = {}
        #: Attempts whose shepherd died before them: what is left of them has become this process's children.
        self._bereft: list[Attempt] = []
        self._orphans = False  # there may be some
        self._orphan_sweep = Pace()
        self._leaving = False

    def run(self) -> None:
        self._wake_on_child_death()
        self._node.say({"is": "ready", "pid": os.getpid()})
        while self._attempts or self._orphans or not self._leaving:
            for key, events in self._selector.select(self._wait_s()):
                key.data(events)
            self._reap()
            self._obey()  # an extension of the lease may be among the orders
            self._keep_time()

    def _wake_on_child_death(self) -> None:
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ, lambda _: os.read(woken, 4096))

    def _wait_s(self) -> float | None:
        if self._node.orders:
            return 0.0
        if not self._attempts and not self._orphans:
            return None
        stop_at = self._lease.stop_at
        wake_at = min((attempt.wake_at(stop_at) for attempt in self._attempts.values()), default=math.inf)
        if self._orphans:
            wake_at = min(wake_at, self._orphan_sweep.at)
        return min(max(0.0, wake_at - now()), WAIT_S_MAX)

    def _lose_node(self) -> None:
        self._leaving = True
        self._end_all("the node died", keep=False)

    # Orders.

    def _obey(self) -> None:
        for _ in range(min(ORDERS_PER_TURN_MAX, len(self._node.orders))):
            if not self._node.orders:  # the node was lost while it was answered
                return
            line = self._node.orders.popleft()
            try:
                self._carry_out(orders.decode(line))
            except (ValueError, KeyError, TypeError) as error:
                self._node.say({"is": "log", "text": f"an order was not understood: {error!r}"})

    def _carry_out(self, order: dict[str, Any]) -> None:
        match order["do"]:
            case "launch":
                self._launch(orders.launch(order["launch"]))
            case "lease":
                stop_at, kill_at = float(order["stop_at"]), float(order["kill_at"])
                self._lease.set(stop_at=from_monotonic(stop_at), kill_at=from_monotonic(kill_at))
            case "stop":
                if order["key"] in self._attempts:
                    self._end(self._attempts[order["key"]], attempts.CANCELLED, str(order["reason"]))
            case "end_all":
                self._end_all(str(order["reason"]), keep=True)
            case "close":
                self._leaving = True
                self._end_all(str(order["reason"]), keep=False, grace_s=float(order["grace_s"]))
            case "ping":
                self._node.say({"is": "alive"})
            case unknown:
                raise ValueError(f"there is no order {unknown!r}")

    def _launch(self, order: orders.Launch) -> None:
        if order["key"] in self._attempts:
            return
        if refusal := self._refusal():
            self._say_ended(attempts.not_started(order["key"], refusal))
            return
        try:
            attempt = self._fork(order)
        except OSError as error:  # out of processes, memory or descriptors
            self._say_ended(attempts.not_started(order["key"], f"cannot fork: {error.strerror}"))
            return
        self._attempts[attempt.key] = self._shepherds[attempt.shepherd] = attempt
        self._selector.register(attempt.channel, selectors.EVENT_READ, lambda _: self._hear(attempt))

    def _fork(self, order: orders.Launch) -> Attempt:
        channel, shepherds_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with shepherds_end:
            try:
                pid = os.fork()
            except OSError:
                channel.close()
                raise
            if pid == 0:
                tend(order, shepherds_end, self._pen)
        channel.setblocking(False)
        return Attempt(order, pid, channel, now())

    def _refusal(self) -> str:
        if self._leaving:
            return "the node is stopping"
        if now() >= self._lease.stop_at:
            return "the node has no lease"
        if len(self._attempts) + len(self._bereft) >= RUNNING_MAX:
            return f"the node already runs {RUNNING_MAX} attempts"
        return ""

    # Shepherds.

    def _hear(self, attempt: Attempt) -> None:
        while attempt.key in self._attempts:
            try:
                told = attempt.channel.recv(65_536)
            except BlockingIOError:
                return
            except OSError:
                told = b""
            if not told:  # it is dying: it will be reaped
                self._hang_up(attempt)
                return
            self._take(attempt, json.loads(told))

    def _take(self, attempt: Attempt, report: dict[str, Any]) -> None:
        if "broke" in report:
            self._node.say({"is": "log", "text": f"a shepherd broke: {report['broke']}"})
        elif "status" in report:
            self._bury(attempt, attempts.ended(attempt, report))
        else:
            attempt.started_ms = report["started_ms"]
            self._node.say({"is": "started", "key": attempt.key, "started_ms": attempt.started_ms})

    def _hang_up(self, attempt: Attempt) -> None:
        if attempt.channel.fileno() >= 0:
            self._selector.unregister(attempt.channel)
            attempt.channel.close()

    def _bury(self, attempt: Attempt, result: orders.Ended) -> None:
        self._hang_up(attempt)
        self._attempts.pop(attempt.key, None)
        self._say_ended(result)

    def _say_ended(self, result: orders.Ended) -> None:
        self._node.say({"is": "ended", **result})

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                attempt = self._shepherds.pop(ended[0], None)
                if attempt is not None:
                    self._mourn(attempt, killed=os.WIFSIGNALED(ended[1]))

    def _mourn(self, attempt: Attempt, *, killed: bool) -> None:
        """A shepherd has ended; if it did not report, its attempt is bereft; who was killed may have left orphans."""
        if attempt.channel.fileno() >= 0:
            self._hear(attempt)
        bereft = self._attempts.get(attempt.key) is attempt
        if bereft:
            del self._attempts[attempt.key]
            self._hang_up(attempt)
            self._bereft.append(attempt)
        if bereft or killed:
            self._orphans, self._orphan_sweep = True, Pace()

    # Time.

    def _keep_time(self) -> None:
        instant = now()
        stop_at, kill_at = self._lease.stop_at, self._lease.kill_at
        for attempt in self._attempts.values():
            if attempt.timeout_at <= instant and attempt.sentence is None:
                self._end(attempt, attempts.TIMED_OUT, f"timed out after {attempt.order['timeout_s']:g} s")
            if stop_at <= instant and not attempt.lease_ended and not attempt.order["keep"]:
                attempt.lease_ended = True
                self._end(attempt, LOST, "the node's lease ended", kill_at=kill_at)
        self._sweep([a for a in self._attempts.values() if max(a.kill_at, a.sweep.at) <= instant], instant)
        if self._orphans and self._orphan_sweep.at <= instant:
            self._end_orphans(instant)

    def _end(self, attempt: Attempt, outcome: str, reason: str, kill_at: float = math.inf) -> None:
        """The shepherd sends TERM; KILL at `kill_at` or after the grace, by it or else by this process."""
        instant = now()
        attempt.sentence = attempt.sentence or Sentence(instant, outcome, reason)
        attempt.kill_at = min(attempt.kill_at, kill_at, instant + attempt.order["grace_s"])
        with contextlib.suppress(OSError):
            attempt.channel.send(json.dumps({"kill_at": attempt.kill_at}).encode())

    def _end_all(self, reason: str, *, keep: bool, grace_s: float = math.inf) -> None:
        """End all attempts; with `keep`, those that may live without the node's lease stay."""
        for attempt in self._attempts.values():
            if keep and attempt.order["keep"]:
                continue
            self._end(attempt, LOST, reason, kill_at=now() + grace_s)

    def _sweep(self, overdue: list[Attempt], instant: float) -> None:
        """KILL all that is left of these attempts, whatever their shepherds do."""
        if not overdue:
            return
        everybody = table()
        for attempt in overdue:
            left = below(attempt.shepherd, everybody)
            strike(left, signal.SIGKILL)
            attempt.sweep.tried(instant)
            attempt.silent_since = math.inf if left else min(attempt.silent_since, instant)
            if instant - attempt.silent_since > REPORT_WAIT_S:
                os.kill(attempt.shepherd, signal.SIGKILL)  # ours and not yet reaped: the pid is no other's
                self._bury(attempt, attempts.unreported(attempt, "its report is lost: the disk does not answer"))

    def _end_orphans(self, instant: float) -> None:
        """Whoever is a child of this process and no shepherd was of a tree whose shepherd died."""
        everybody = table()
        own = [p for p in everybody.values() if p.parent == os.getpid() and p.pid not in self._shepherds]
        left: list[Process] = [p for orphan in own for p in (orphan, *below(orphan.pid, everybody)) if p.alive]
        strike(left, signal.SIGKILL)
        self._orphan_sweep.tried(instant)
        if left:
            return
        for attempt in self._bereft:
            self._say_ended(attempts.unreported(attempt, "its shepherd was killed"))
        self._bereft.clear()
        self._orphans = False


def identify(lock: int) -> None:
    """Write who holds the lock, for the boot that finds it held."""
    own = look(os.getpid())
    assert own is not None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{own.pid} {own.start} {boot_id()}\n".encode(), 0)


def main(data_dir: str, node: int, lock: int) -> None:
    """The guardian's life. `node` and `lock` are descriptors that the node handed down."""
    for descriptor in (node, lock):
        os.set_inheritable(descriptor, False)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    os.chdir("/")
    kernel.become_subreaper()
    kernel.set_name("peercron-guard")
    oom_score = kernel.set_oom_score("-900")  # a job that eats all memory shall die, not who watches it
    identify(lock)
    pen = Pen(f"{data_dir}/attempts", f"{data_dir}/output", boot_id(), lock, Lease(), oom_score)
    link = socket.socket(fileno=node)
    kernel.lock_memory()
    gc.collect()
    gc.freeze()  # what the shepherds share with this process stays shared
    try:
        Guardian(link, pen).run()
    except Exception:  # noqa: BLE001 - whatever it was, the node's log should have it
        with contextlib.suppress(OSError):
            link.send(orders.encode({"is": "log", "text": f"the guardian broke: {traceback.format_exc()}"}))
        sys.exit(1)

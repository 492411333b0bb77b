"""guardian: the process beside the node that starts the attempts, keeps their time and ends them when the node cannot.

It lives in a session of its own, so that no terminal and no signal to the node's group reaches it, ignores TERM, and
goes when its socket to the node closes and the last attempt is dead. Once started it touches no disk and waits for
nobody. A defect in it is not survived but ends it: its shepherds then end their trees, and the node starts a new one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import socket
from typing import Any

from peercron.execution import attempt as attempts
from peercron.execution import orders
from peercron.execution.attempt import LOST, OVERDUE, Attempt, Sentence, time_of, timed
from peercron.execution.census import Census
from peercron.execution.lease import from_monotonic, now
from peercron.execution.limits import ORDERS_PER_TURN_MAX, RUNNING_MAX, WAIT_S_MAX
from peercron.execution.nodelink import NodeLink
from peercron.execution.orphans import Orphans
from peercron.execution.pen import Pen
from peercron.execution.shepherd import tend
from peercron.execution.sweep import sweep


class Guardian:
    def __init__(self, node: socket.socket, pen: Pen) -> None:
        self._pen = pen
        self._lease = pen.lease
        self._selector = selectors.DefaultSelector()
        self._node = NodeLink(node, self._selector, self._lose_node)
        self._attempts: dict[str, Attempt] = {}
        #: Workers that wait for an attempt; they need no lease, since they do nothing.
        self._waiting: dict[str, Attempt] = {}
        #: Every shepherd not yet reaped.
        self._shepherds: dict[int, Attempt] = {}
        self._orphans = Orphans()
        self._census = Census()
        self._leaving = False

    def run(self) -> None:
        self._wake_on_child_death()
        self._node.say({"is": "ready", "pid": os.getpid()})
        while self._attempts or self._waiting or self._orphans.some or not self._leaving:
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
        if not self._attempts and not self._orphans.some:
            return None
        stop_at = self._lease.stop_at
        wake_at = min((attempt.wake_at(stop_at) for attempt in self._attempts.values()), default=math.inf)
        wake_at = min(wake_at, self._census.at) if self._attempts else wake_at
        if self._orphans.some:
            wake_at = min(wake_at, self._orphans.sweep_at)
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
                self._launch(timed(orders.launch(order["launch"])))
            case "warm":
                self._launch(orders.launch(order["launch"]), self._waiting)
            case "assign":
                self._assign(str(order["worker"]), timed(orders.launch(order["launch"])))
            case "lease":
                stop_at, kill_at = float(order["stop_at"]), float(order["kill_at"])
                self._lease.set(stop_at=from_monotonic(stop_at), kill_at=from_monotonic(kill_at))
            case "release":
                self._release(self._attempts.get(order["key"]))
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

    def _launch(self, order: orders.Launch, among: dict[str, Attempt] | None = None) -> None:
        among = self._attempts if among is None else among
        if order["key"] in among:
            return
        if refusal := self._refusal(order, waits=among is self._waiting):
            self._say_ended(attempts.not_started(order["key"], refusal))
            return
        try:
            attempt = self._fork(order)
        except OSError as error:  # out of processes, memory or descriptors
            self._say_ended(attempts.not_started(order["key"], f"cannot fork: {error.strerror}"))
            return
        among[attempt.key] = self._shepherds[attempt.shepherd] = attempt
        self._selector.register(attempt.channel, selectors.EVENT_READ, lambda _: self._hear(attempt))

    def _assign(self, worker: str, order: orders.Launch) -> None:
        """Give the attempt to a worker that waits; if that one has died meanwhile, to a new process."""
        attempt = self._waiting.get(worker)
        if attempt is None or order["key"] in self._attempts or self._refusal(order):
            self._launch(order)
            return
        try:
            attempt.channel.send(json.dumps({"assign": order}).encode())
        except OSError:  # it is dying, or the order is too large for one message
            self._launch(order)
            return
        del self._waiting[worker]
        attempt.assign(order, now())
        self._attempts[attempt.key] = attempt

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

    def _release(self, attempt: Attempt | None) -> None:
        if attempt is not None and attempt.held and attempt.sentence is None:
            attempt.begin(now())
            with contextlib.suppress(OSError):
                attempt.channel.send(json.dumps({"go": True}).encode())

    def _refusal(self, order: orders.Launch, *, waits: bool = False) -> str:
        if self._leaving:
            return "the node is stopping"
        if order["until"] and now() >= order["until"][0]:
            return OVERDUE
        if not waits and not order["until"] and now() >= self._lease.stop_at:
            return "the node has no lease"
        if not waits and len(self._attempts) + len(self._orphans.bereft) >= RUNNING_MAX:
            return f"the node already runs {RUNNING_MAX} attempts"
        return ""

    # Shepherds.

    def _hear(self, attempt: Attempt) -> None:
        while self._lives(attempt):
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
        elif "status" in report and attempt.unbegun(report):
            self._begin_anew(attempt)
        elif "status" in report:
            self._bury(attempt, attempts.ended(attempt, report))
        elif "held" in report:
            self._node.say({"is": "held", "key": attempt.key})
        else:
            attempt.started_ms = report["started_ms"]
            self._node.say({"is": "started", "key": attempt.key, "started_ms": attempt.started_ms})

    def _begin_anew(self, attempt: Attempt) -> None:
        """The worker that waited died before it began this attempt: that is not its end."""
        self._hang_up(attempt)
        self._forget(attempt)
        self._launch(attempt.order)

    def _lives(self, attempt: Attempt) -> bool:
        return attempt in (self._attempts.get(attempt.key), self._waiting.get(attempt.key))

    def _hang_up(self, attempt: Attempt) -> None:
        if attempt.channel.fileno() >= 0:
            self._selector.unregister(attempt.channel)
            attempt.channel.close()

    def _bury(self, attempt: Attempt, result: orders.Ended) -> None:
        self._hang_up(attempt)
        self._forget(attempt)
        self._say_ended(result)

    def _forget(self, attempt: Attempt) -> None:
        self._attempts.pop(attempt.key, None)
        self._waiting.pop(attempt.key, None)

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
        bereft = self._lives(attempt)
        if bereft:
            self._forget(attempt)
            self._hang_up(attempt)
            self._orphans.bereft.append(attempt)
        if bereft or killed:
            self._orphans.expect()

    # Time.

    def _keep_time(self) -> None:
        instant = now()
        for attempt, count in self._census.crowds(self._attempts.values(), instant):
            crowd = f"{count} processes at once, at most {attempt.order['processes']} are allowed (processes_max)"
            # Whatever its first process has made of itself, if that has ended: it left this behind.
            self._end(attempt, attempts.FAILED, crowd, kill_at=instant, since=-math.inf)
        stop_at, kill_at = self._lease.stop_at, self._lease.kill_at
        for attempt in self._attempts.values():
            if attempt.timeout_at <= instant and attempt.sentence is None:
                self._end(attempt, attempts.TIMED_OUT, f"timed out after {attempt.order['timeout_s']:g} s")
            may_live, must_die = time_of(attempt.order, stop_at, kill_at)
            if may_live <= instant and not attempt.lease_ended:
                attempt.lease_ended = True
                why = (attempts.TIMED_OUT, OVERDUE) if attempt.order["until"] else (LOST, "the node's lease ended")
                self._end(attempt, *why, kill_at=must_die)
        for attempt in sweep([a for a in self._attempts.values() if max(a.kill_at, a.sweep.at) <= instant], instant):
            os.kill(attempt.shepherd, signal.SIGKILL)  # ours and not yet reaped: the pid is no other's
            self._bury(attempt, attempts.unreported(attempt, "its report is lost: the disk does not answer"))
        if self._orphans.some and self._orphans.sweep_at <= instant:
            for bereft in self._orphans.end(instant, self._shepherds):
                self._say_ended(attempts.unreported(bereft, "its shepherd was killed"))

    def _end(
        self, attempt: Attempt, outcome: str, reason: str, kill_at: float = math.inf, since: float | None = None
    ) -> None:
        """The shepherd sends TERM; KILL at `kill_at` or after the grace, by it or else by this process."""
        instant = now()
        attempt.sentence = attempt.sentence or Sentence(instant if since is None else since, outcome, reason)
        attempt.kill_at = min(attempt.kill_at, kill_at, instant + attempt.order["grace_s"])
        with contextlib.suppress(OSError):
            attempt.channel.send(json.dumps({"kill_at": attempt.kill_at}).encode())

    def _end_all(self, reason: str, *, keep: bool, grace_s: float = math.inf) -> None:
        """End all attempts; with `keep`, those that may live without the node's lease stay."""
        if not keep:
            self._attempts |= self._waiting
            self._waiting.clear()
        for attempt in self._attempts.values():
            if keep and attempt.order["keep"]:
                continue
            self._end(attempt, LOST, reason, kill_at=now() + grace_s)

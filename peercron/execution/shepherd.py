"""shepherd: one small process per attempt, forked from the guardian, that starts the command and outlives its tree.

As a child subreaper it inherits every orphan of its tree, so "no children left" is exact: then, and only then, the
attempt has ended. What the command leaves running behind it is ended too.
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
import traceback
from typing import Any, NoReturn

from peercron.clock import SystemClock
from peercron.execution import attempt, kernel, launch, processes, record
from peercron.execution.ending import Ending
from peercron.execution.environment import Unresolved, resolve
from peercron.execution.feed import Feed
from peercron.execution.gate import Gate
from peercron.execution.lease import now
from peercron.execution.limits import ASSIGNMENT_BYTES_MAX, OUTPUT_CHUNK_BYTES, REASON_CHARS_MAX
from peercron.execution.orders import Launch, encode
from peercron.execution.output import Output
from peercron.execution.pen import Pen

#: What the kernel lets a user hold in a pipe. Nobody of the tree is left to add to it, but a stranger might.
PIPE_BYTES_MAX = 1024 * 1024


def tend(order: Launch, channel: socket.socket, pen: Pen) -> NoReturn:
    """The whole life of a shepherd, in the forked child of the guardian."""
    try:
        kernel.close_all_but(0, 1, 2, channel.fileno(), pen.lock)
        Shepherd(order, channel, pen).run()
    except BaseException:  # noqa: BLE001 - a fork must not return into its parent's code
        with contextlib.suppress(OSError):
            channel.send(json.dumps({"broke": traceback.format_exc()[-4_096:]}).encode())
    finally:
        os._exit(0)


class Shepherd:
    def __init__(self, order: Launch, channel: socket.socket, pen: Pen) -> None:
        self._order, self._channel, self._pen = order, channel, pen
        self._record = f"{pen.attempts}/{order['key']}.json"
        self._mark = os.urandom(16).hex()
        self._output = Output(f"{pen.outputs}/{order['key']}.log")
        self._feed: Feed | None = None  # to a worker
        self._selector = selectors.DefaultSelector()
        self._ending: Ending | None = None
        self._why = ""  # what this shepherd ended its tree for, by its own decision
        self._absent = False  # that was: what it should run is not here
        self._kill_by = math.inf  # what the guardian has ordered
        self._launched = False  # the command runs, or has failed to
        self._gate = Gate(held=order["held"])
        self._complaints = self._pipe = -1
        self._piped = False  # there may be more output
        self._childless = False
        self._command = 0
        self._status: int | None = None
        self._ended_at = math.inf
        self._started_ms: int | None = None
        self._failure: tuple[str, int] | None = None

    def run(self) -> None:
        self._prepare()
        try:
            self._launch()
        except OSError as error:  # of this process's own: it could not fork, or not write its record
            self._gate.close()
            self._why = f"the command was not started: {error.strerror or error}"
        self._reap()
        while not self._childless:
            for key, _ in self._selector.select(self._wait_s()):
                key.data()
            self._reap()
            self._keep_time()
        self._report()

    def _prepare(self) -> None:
        gc.disable()
        kernel.become_subreaper()
        kernel.set_name("peercron-run")
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._listen(woken, lambda: os.read(woken, 4096))
        self._channel.setblocking(False)
        self._listen(self._channel.fileno(), self._hear)

    def _listen(self, descriptor: int, act: Any) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, act)

    def _launch(self) -> None:
        go, let_go = os.pipe2(os.O_CLOEXEC)
        self._pipe, output = os.pipe2(os.O_CLOEXEC)
        self._complaints, complain = os.pipe2(os.O_CLOEXEC)
        own = os.getpid()
        inner = -1
        if self._order["worker"]:
            self._feed, inner = Feed.open(self._selector, self._hear_worker)
        self._command = os.fork()
        if self._command == 0:
            os.close(let_go)  # or it would wait for itself
            ends = launch.Ends(go, inner, output, complain)
            launch.become(self._order, mark=self._mark, ends=ends, shepherd=own, oom_score=self._pen.oom_score)
        for end in (go, output, complain, *([inner] if self._feed else [])):
            os.close(end)
        self._piped = True
        os.set_blocking(self._pipe, False)
        self._listen(self._pipe, self._read_output)
        self._listen(self._complaints, self._hear_launch)
        self._gate.hang(let_go)
        self._write_record()
        if self._gate.held:
            self._say({"held": True})
            return
        self._gate.open()
        if self._order["work"]:
            self._hand_on(self._order)

    def _write_record(self) -> None:
        names = (record.name_of(processes.look(os.getpid())), record.name_of(processes.look(self._command)))
        record.write(self._record, record.Record(self._mark, self._pen.boot, *names, self._order["grace_s"]))

    # A worker.

    def _assign(self, order: Launch) -> None:
        """The worker that waited here gets this to do: from now on it is this attempt."""
        self._drain()  # what it wrote while it waited is not the attempt's
        self._output.finish()
        self._output = Output(f"{self._pen.outputs}/{order['key']}.log")
        waited_as, self._order = self._record, order
        self._record = f"{self._pen.attempts}/{order['key']}.json"
        try:
            self._write_record()
            os.unlink(waited_as)
        except OSError as error:
            self._why, self._kill_by = f"the command was not started: {error.strerror or error}", now()
        else:
            self._hand_on(order)

    def _hand_on(self, order: Launch) -> None:
        assert self._feed is not None
        try:
            environment = {**resolve(order["env"], os.environ), **order["variables"]}
        except Unresolved as error:
            self._failure, self._kill_by = (str(error), launch.NOT_STARTED), now()
        else:
            work = {"environment": environment, "cwd": order["cwd"], "work": json.loads(order["work"])}
            self._feed.say(encode(work))

    def _hear_worker(self, told: dict[str, Any]) -> None:
        """It may say what it likes: it is believed about itself, as its exit code is."""
        if "begun" in told and self._started_ms is None:
            self._say_started()
        elif "failed" in told:
            self._failure = (str(told["failed"])[:REASON_CHARS_MAX], 1)
        elif "absent" in told:  # what it should run is not on this node: another may have it
            self._absent = not self._why
            self._why = self._why or str(told["absent"])[:REASON_CHARS_MAX]

    # What is heard.

    def _hear_launch(self) -> None:
        told = os.read(self._complaints, 65_536)
        self._selector.unregister(self._complaints)
        self._launched = True
        if told:
            sentence, code = json.loads(told)
            self._failure = (sentence, code)
        elif not self._why and not self._gate.held and not self._order["worker"]:
            self._say_started()

    def _say_started(self) -> None:
        self._started_ms = SystemClock().wall_ms()
        self._say({"started_ms": self._started_ms})

    def _read_output(self) -> bool:
        """False: there is nothing more at the moment, or ever."""
        if not self._piped:
            return False
        try:
            chunk = os.read(self._pipe, OUTPUT_CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(self._pipe)
            self._piped = False
        self._output.write(chunk)
        return self._piped

    def _hear(self) -> None:
        try:
            told = self._channel.recv(ASSIGNMENT_BYTES_MAX)
        except BlockingIOError:
            return
        except ConnectionError:
            told = b""
        if told:
            order = json.loads(told)
            if "kill_at" in order:
                self._kill_by = min(self._kill_by, order["kill_at"])
                self._gate.close()  # who was never let go needs no grace
            elif "go" in order:
                self._gate.open()
            else:
                self._assign(order["assign"])
            return
        self._selector.unregister(self._channel.fileno())
        self._decide_why("the guardian of the node died")
        self._gate.close()
        self._kill_by = min(self._kill_by, now() + self._order["grace_s"])  # or the lease's end, if that is earlier

    def _lease_end(self) -> float:
        return attempt.time_of(self._order, -math.inf, self._pen.lease.kill_at)[1]

    def _reap(self) -> None:
        """Take note of every child that has ended."""
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._command and self._status is None:  # pids come again
                    self._status, self._ended_at = ended[1], now()
        except ChildProcessError:
            self._childless = True

    # What is done in time.

    def _keep_time(self) -> None:
        instant = now()
        if self._lease_end() <= instant:  # the guardian is late: it hangs
            self._decide_why(attempt.OVERDUE if self._order["until"] else "the node's lease ended")
            self._gate.close()
            self._kill_by = min(self._kill_by, self._lease_end())
        if self._status is not None and not self._childless and self._ending is None:
            self._kill_by = min(self._kill_by, instant + self._order["grace_s"])  # left behind by the command
        if self._kill_by < math.inf and (self._launched or self._kill_by <= instant):
            self._ending = self._ending or Ending(os.getpid())
            self._ending.go_on(instant, self._kill_by)

    def _decide_why(self, reason: str) -> None:
        """Does not change why the command itself has ended, if it has: only what it left behind is hit then."""
        if self._status is None:
            self._why = self._why or reason

    def _wait_s(self) -> float | None:
        instant, lease_end = now(), self._lease_end()
        own = self._ending.wake_at if self._ending else self._kill_by
        # A lease that has ended has said what it had to say; who dies slowly must not be watched without a pause.
        wake_at = own if lease_end <= instant else min(own, lease_end)
        return None if wake_at == math.inf else max(0.0, wake_at - instant)

    # The end.

    def _report(self) -> None:
        if self._command and not self._launched:
            self._hear_launch()
        if self._feed is not None:
            self._feed.drain()
        self._drain()
        self._output.finish()
        self._say(self._result())
        with contextlib.suppress(OSError):
            os.unlink(self._record)

    def _drain(self) -> None:
        for _ in range(PIPE_BYTES_MAX // OUTPUT_CHUNK_BYTES + 1):
            if not self._read_output():
                break

    def _result(self) -> dict[str, Any]:
        reason, code = self._failure or ("", None)
        return {
            "why": self._why,
            "absent": self._absent,
            "status": self._status,
            "ended_at": self._ended_at,
            "failure": reason,
            "code": code,
            "output_tail": self._output.tail(),
            "output_lost": self._output.lost,
        }

    def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the guardian died
            self._channel.setblocking(True)
            self._channel.send(json.dumps(message).encode())
            self._channel.setblocking(False)

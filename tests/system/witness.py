"""What the jobs of the system tests run: it writes down when it lived, and swears that no other attempt lived then.

    python -I -S witness.py FOLDER SECONDS [--stubborn] [--alone] [--beat]

Each attempt appends lines to FOLDER/witness.log, each by one write to a file opened for appending:

    start|end|overlap RUN_ID ATTEMPT TOKEN NODE MONOTONIC_NS

While it lives it holds a lock (flock) on a file named by its run: the kernel lets go of it when the last process that
has it is dead, however it died. An attempt that finds the lock taken writes `overlap` before its `start`. With
--stubborn there is also a grandchild in a session of its own that ignores TERM and holds the same lock. With --who it
says after its `start`, in FOLDER/who.log, which process it is, and of how many shards:

    RUN_ID TOKEN NODE PID SHARDS
"""

import fcntl
import os
import sys
import time

FOLDER, SECONDS = sys.argv[1], float(sys.argv[2])
RUN = os.environ["PEERCRON_RUN_ID"]
WHO = " ".join(os.environ[f"PEERCRON_{name}"] for name in ("RUN_ID", "ATTEMPT", "FENCING_TOKEN", "NODE"))
LOG = os.open(f"{FOLDER}/witness.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def say(word: str) -> None:
    os.write(LOG, f"{word} {WHO} {time.monotonic_ns()}\n".encode())


def be_stubborn() -> None:
    import signal

    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.01)
            say("beat")


def hold(name: str) -> None:
    """Have the lock of this name until the end."""
    lock = os.open(f"{FOLDER}/{name.replace('/', '~')}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("overlap")


def introduce() -> None:
    names = "RUN_ID", "FENCING_TOKEN", "NODE"
    which = " ".join(os.environ[f"PEERCRON_{name}"] for name in names)
    log = os.open(f"{FOLDER}/who.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(log, f"{which} {os.getpid()} {os.environ.get('PEERCRON_SHARD_COUNT', '1')}\n".encode())


hold(RUN)
if "--alone" in sys.argv:
    hold(f"job {os.environ['PEERCRON_JOB']}")
say("start")
if "--who" in sys.argv:
    introduce()
if "--stubborn" in sys.argv:
    be_stubborn()
deadline = time.monotonic() + SECONDS
while time.monotonic() < deadline:
    time.sleep(min(0.02, SECONDS))
    if "--beat" in sys.argv:
        say("beat")
say("end")

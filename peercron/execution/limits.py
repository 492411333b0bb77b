"""The bounds of execution, by name; those that depend on each other are asserted side by side."""

from __future__ import annotations

from peercron.core.limits import OUTPUT_TAIL_BYTES_MAX, PROCESSES_MAX_MAX

#: Attempts alive at a time; one more is refused as lost, so that it gets its try on another node.
RUNNING_MAX = 512
#: Processes that an attempt may have at once where its job says nothing else; one with more is ended.
PROCESSES_MAX = 1024
#: They are counted so often …
CENSUS_S = 0.1
#: … when the host's number of tasks has grown by enough since the last count, and otherwise after so long.
CENSUS_WHOLE_S = 5.0
#: A sweep strikes what was forked while it struck so often before it waits for the next.
SWEEP_ROUNDS_MAX = 8
#: Ended attempts whose tokens are remembered, so that none is ever started twice.
ENDED_REMEMBERED_MAX = 4 * RUNNING_MAX
#: One line between node and guardian.
LINE_BYTES_MAX = 4 * 1024 * 1024
#: What the guardian hands a worker that waits; more than the kernel lets through at once begins in a new process.
ASSIGNMENT_BYTES_MAX = 256 * 1024
#: Workers that have imported the job classes and wait for an attempt. Each serves one, and another takes its place.
WORKERS_WAITING = 2
#: Modules that a waiting worker has imported; of those that were used last.
WORKER_MODULES_MAX = 16
#: A worker that dies while it waits is replaced after this; doubles to the last, and is forgotten when one is used.
WORKER_PAUSE_S_MIN = 1.0
WORKER_PAUSE_S_MAX = 60.0
#: The modules of --import may take so long to import, and their jobs as many bytes of JSON.
IMPORT_S_MAX = 60.0
IMPORT_PAUSE_S = 0.5
IMPORT_BYTES_MAX = 4 * 1024 * 1024
#: Orders that the guardian carries out before it looks at the time again.
ORDERS_PER_TURN_MAX = 8
REASON_CHARS_MAX = 500

#: The file of an attempt's output: its head as it comes, then one line about the gap, then its end.
OUTPUT_FILE_BYTES_MAX = 1024 * 1024
OUTPUT_END_BYTES_MAX = 64 * 1024
OUTPUT_GAP_LINE_BYTES_MAX = 256
OUTPUT_HEAD_BYTES_MAX = OUTPUT_FILE_BYTES_MAX - OUTPUT_END_BYTES_MAX - OUTPUT_GAP_LINE_BYTES_MAX
OUTPUT_CHUNK_BYTES = 64 * 1024
#: Output files that are kept, oldest removed first; those of living attempts stay.
OUTPUT_FILES_MAX = 10_000
OUTPUT_TOTAL_BYTES_MAX = 256 * 1024 * 1024
#: Ended attempts between two prunings.
OUTPUT_PRUNE_EVERY = 200

#: A secret read from a file.
SECRET_BYTES_MAX = 64 * 1024
#: Of an HTTP answer's body so much is read; its tail is kept.
HTTP_BODY_BYTES_MAX = 1024 * 1024
HTTP_REDIRECTS_MAX = 5
#: What is read of a TCP exchange, and how long it may take where the job has no time-out of its own.
TCP_ANSWER_BYTES_MAX = 64 * 1024
TCP_ANSWER_S_MAX = 60.0
HTTP_CONNECT_S_MAX = 30.0

#: KILL is sent again and again until nothing is left: first this often …
SWEEP_S_MIN = 0.02
#: … and at last so seldom.
SWEEP_S_MAX = 1.0
#: While attempts live, the guardian looks at the time so often: its sleep does not count the time of a suspended host.
WAIT_S_MAX = 1.0
#: A shepherd whose tree is dead and that still does not report is given up: its disk hangs.
REPORT_WAIT_S = 1.0

#: The node asks a guardian with living attempts for a sign of life so often …
PING_S = 1.0
#: … and replaces it when so many questions were not answered.
PINGS_UNANSWERED_MAX = 4
GUARDIAN_START_S = 15.0
#: Wait before a dead guardian is replaced: doubles from the first to the last, and is forgotten after a quiet minute.
RESTART_S_MIN = 0.05
RESTART_S_MAX = 5.0
RESTART_FORGOTTEN_S = 60.0

#: For a node that was killed a moment ago and is not quite dead; who holds its directory longer than this is alive.
OWN_LOCK_WAIT_S = 1.0
#: How long processes of an earlier boot may take for their graceful end before they are killed by their records …
LEFTOVER_GRACE_S_MAX = 30.0
#: … and to be gone after that.
LEFTOVER_KILL_S = 5.0

assert OUTPUT_TAIL_BYTES_MAX <= OUTPUT_END_BYTES_MAX < OUTPUT_HEAD_BYTES_MAX
assert OUTPUT_CHUNK_BYTES <= OUTPUT_END_BYTES_MAX
assert SWEEP_S_MIN < SWEEP_S_MAX <= REPORT_WAIT_S
assert PINGS_UNANSWERED_MAX >= 2
assert CENSUS_S < CENSUS_WHOLE_S
assert PROCESSES_MAX <= PROCESSES_MAX_MAX

"""Every bound that replicated data obeys, by name; bounds that depend on each other are asserted side by side."""

from __future__ import annotations

NAME_LENGTH_MAX = 128
JOBS_MAX = 200_000
MEMBERS_MAX = 32
#: Attempts of one run before the run is given up as lost.
ATTEMPTS_MAX = 16
#: Finished runs kept in full per job; older ones live on as ledger entries only.
RUNS_KEPT_PER_JOB = 20
#: Ledger entries kept per job; the oldest go first.
LEDGER_KEPT_PER_JOB = 1_000
#: Slots of one job waiting for their turn under overlap = queue_all; more are skipped with a reason.
QUEUED_SLOTS_MAX = 100
#: Slots listed by one Fire command; a longer gap is walked in several commands.
SLOTS_PER_FIRE_MAX = 256
#: Slots that one misfire may replay with policy = all.
MISFIRE_REPLAY_MAX = 100
OUTPUT_TAIL_BYTES_MAX = 2_048
ENV_ENTRIES_MAX = 256
ARGUMENT_BYTES_MAX = 64 * 1024
#: Results remembered per client session for retries.
RESULTS_PER_SESSION_MAX = 8_192
KEY_BYTES_MAX = 512
VALUE_BYTES_MAX = 256 * 1024
KEYS_MAX = 1_000_000
TIMEOUT_MS_MAX = 30 * 24 * 3_600_000
EVERY_MS_MIN = 100

assert RUNS_KEPT_PER_JOB <= LEDGER_KEPT_PER_JOB
assert MISFIRE_REPLAY_MAX <= SLOTS_PER_FIRE_MAX <= LEDGER_KEPT_PER_JOB
assert QUEUED_SLOTS_MAX <= LEDGER_KEPT_PER_JOB

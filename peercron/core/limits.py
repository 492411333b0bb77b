"""Every bound that replicated data obeys, by name; bounds that depend on each other are asserted side by side."""

from __future__ import annotations

NAME_LENGTH_MAX = 128
JOBS_MAX = 200_000
MEMBERS_MAX = 32
#: Attempts of one run before the run is given up as lost.
ATTEMPTS_MAX = 16
#: Attempts that `retry` may add after failures.
RETRIES_MAX = ATTEMPTS_MAX - 1
#: What a job may ask for as the number of its processes.
PROCESSES_MAX_MAX = 32_768
#: Job classes of which is kept that a node does not have them; one that was forgotten is asked for once more.
LACKING_KEPT = 256
#: Ended runs kept in full per job; older ones live on as ledger entries only.
RUNS_KEPT_PER_JOB = 20
#: Bytes of ended runs over all jobs. Each job has an equal share, and keeps its last run whatever that takes.
RUNS_KEPT_BYTES = 256 << 20
#: Ids of the newest runs over all jobs, for lists of them.
RECENT_RUNS_KEPT = 10_000
#: Ledger entries kept per job, and over all jobs, of which each has an equal share; the oldest go first.
LEDGER_KEPT_PER_JOB = 1_000
LEDGER_KEPT = 2_000_000
#: Live runs of one job under overlap = allow; more are skipped with a reason.
LIVE_RUNS_PER_JOB_MAX = 256
#: Deleted jobs whose runs and ledger can still be read; the oldest go first.
DELETED_JOBS_KEPT = 256
#: Definitions in one ApplyJobs; checking and putting them keeps the loop for some tens of milliseconds.
JOBS_PER_APPLY_MAX = 5_000
#: Slots of one job waiting for their turn under overlap = queue_all; more are skipped with a reason.
QUEUED_SLOTS_MAX = 100
#: Live runs of one job in mode queue that its own slots put into the queue; more are skipped with a reason. The rest is
#: for items that others put there: they stand in the same line, and what comes first has to find room.
POSTED_RUNS_MAX = LIVE_RUNS_PER_JOB_MAX - QUEUED_SLOTS_MAX
#: Slots listed by one Fire command; a longer gap is walked in several commands.
SLOTS_PER_FIRE_MAX = 256
#: Slots of one gap that get a ledger entry each; what is older is missed as one entry, since the ledger would drop it.
GAP_SLOTS_MAX = LEDGER_KEPT_PER_JOB - 1
#: Slots that one misfire may replay with policy = all.
MISFIRE_REPLAY_MAX = 100
OUTPUT_TAIL_BYTES_MAX = 2_048
REASON_LENGTH_MAX = 512
#: What a run keeps for its next attempt; it travels with each of them, and every checkpoint is an entry of the log.
CHECKPOINT_BYTES_MAX = 64 * 1024
#: "module:Class" of a job class.
TARGET_LENGTH_MAX = 512
#: Address space of a run that is bounded: what a processor can address.
MEMORY_BYTES_MAX = 1 << 47
OWNER_LENGTH_MAX = 512
ADDRESS_LENGTH_MAX = 512
TAGS_MAX = 64
EXPRESSION_LENGTH_MAX = 512
URL_LENGTH_MAX = 8_192
#: The last millisecond of the year 9999: later instants have no calendar date to show.
INSTANT_MS_MAX = 253_402_300_799_999
#: Commands that one turn of the leader's planner proposes, and slots it lists for them: what a turn costs is bounded.
FIRES_PER_PLAN_MAX = 256
PLACEMENTS_PER_PLAN_MAX = 256
#: New and edited jobs whose next slot is computed in one turn, beside the fires that are due.
CURSORS_READ_PER_PLAN_MAX = 64
#: Jobs and waiting runs that a new leader's planner takes in with one turn: some milliseconds.
JOBS_SEEN_PER_PLAN_MAX = 1_000
SLOTS_LISTED_PER_PLAN_MAX = 1_024
#: Plans that wait for their answer; the planner adds none beyond.
PLANS_IN_FLIGHT_MAX = 4_096
CALENDARS_MAX = 256
CALENDAR_RULES_MAX = 1_000
#: No rule is longer than two dates; several together may not be more than all of this length.
CALENDAR_RULE_LENGTH_MAX = 32
CALENDARS_PER_JOB_MAX = 16
POOLS_MAX = 1_000
POOL_SIZE_MAX = 100_000
#: Access tokens; a new one beyond is refused. None is good for longer than ten years, but for those that never end.
TOKENS_MAX = 1_000
TOKEN_MS_MAX = 3_660 * 24 * 3_600_000
#: Jobs that one job may come after, and that may come after one job.
AFTER_MAX = 64
FOLLOWERS_MAX = 1_000
ENV_ENTRIES_MAX = 256
#: What one run is given on its way: how many parameters, and bytes of their names and values together.
PARAMS_MAX = 64
PARAMS_BYTES_MAX = 16 * 1024
ARGUMENT_BYTES_MAX = 64 * 1024
#: Ids of removed members that are remembered, so that one that comes back is told.
REMOVED_KEPT = 256
#: Bits of an index below its generation: 10^12 commands each, and numbers that JavaScript still counts exactly.
GENERATION_SHIFT = 40
GENERATION_MAX = (1 << 53 >> GENERATION_SHIFT) - 1
#: Results remembered per client session for retries.
RESULTS_PER_SESSION_MAX = 8_192
#: A snapshot on its way into a cluster: one part of it, all of them, and how many they may be. The whole stage is held
#: in memory by every member, beside what it is read into.
RESTORE_PART_BYTES_MAX = 128 * 1024
RESTORE_BYTES_MAX = 1 << 30
RESTORE_PARTS_MAX = 65_536
#: A member whose wall clock is further than this from the median of all neither leads nor owns slices.
CLOCK_BOUND_MS = 1_000
#: The last part of each slice, in which nothing runs: the clocks of two nodes that are both within the bound differ by
#: less, and the rest is for the time that a process takes to die.
SLICE_GUARD_MS = 2_500
#: With less time than this before the guard band nothing is started.
SLICE_ROOM_MS_MIN = 200
SLICE_MS_MIN = 2 * SLICE_GUARD_MS
SLICE_MS_MAX = 366 * 24 * 3_600_000
#: Another order of the nodes acts at the end of the slice that this falls into, counted from the command: by then every
#: node that hears of it at all has heard of it.
SLICE_HANDOVER_MS = 10_000
#: Orders of the nodes that are remembered of a job, the one in force among them; the oldest go first.
SLICE_SHARES_KEPT = 16
#: Slots looked at to find the next one of a node, or those that went by while it was down.
SLICE_SLOTS_SEARCHED_MAX = 2_000
#: Jobs in slices for whose absent nodes something is told in one turn of the leader's planner.
ABSENCES_PER_PLAN_MAX = 16
#: Slots in one RecordSlices; a node that has more to tell takes several.
SLICE_ENTRIES_PER_RECORD_MAX = 64
#: Of the output of an attempt in a slice: it travels with its outcome.
SLICE_TAIL_BYTES_MAX = 512
#: A restore that nobody has added to for this long is given up.
RESTORE_IDLE_MS_MAX = 600_000
KEY_BYTES_MAX = 512
VALUE_BYTES_MAX = 256 * 1024
KEYS_MAX = 1_000_000
#: Changes of keys that are kept for watchers, and what they may take; who is behind the oldest has to begin anew.
CHANGES_KEPT = 20_000
CHANGES_KEPT_BYTES = 32 << 20
#: What a change counts for beside its key and its value.
CHANGE_BYTES_MIN = 100
#: Events that each member keeps for who reads what happened; who is behind the oldest has missed some.
EVENTS_KEPT = 10_000
#: Jobs whose runs each member counts one by one; those of all others are counted together.
TALLIED_JOBS_MAX = 100
#: Numbers that a key counts in: those of a 64-bit integer.
NUMBER_MAX = (1 << 63) - 1
#: Answers to requests with an idempotency key, the last ones over all clients: of a retry that comes later than so many
#: other requests nobody knows whether it was done before.
ANSWERS_KEPT = 32_768
#: Leases over all locks, deliveries, keys and clients; a new one beyond is refused.
LEASES_MAX = 500_000
LEASE_MS_MIN = 100
LEASE_MS_MAX = 366 * 24 * 3_600_000
#: The same for people.
LEASE_FORM = f"{LEASE_MS_MIN} ms to {LEASE_MS_MAX // 86_400_000} days"
#: A slot that starts a day later is another day's.
JITTER_MS_MAX = 24 * 3_600_000
#: Checks of one job, and jobs that have any: each member looks at all of them.
CHECKS_PER_JOB_MAX = 8
CHECKED_JOBS_MAX = 1_000
CHECK_INTERVAL_MS_MIN = 200
CHECK_INTERVAL_MS_MAX = 3_600_000
#: Results in a row that turn a verdict.
CHECK_STREAK_MAX = 100
#: Jobs that wait for one key, event or queue: one command may start all of them.
LISTENERS_MAX = 256
CONDITION_LENGTH_MAX = 1_024
CONDITION_DEPTH_MAX = 32
#: A larger value of a key cannot be judged by a condition, which then does not hold.
CONDITION_VALUE_BYTES_MAX = 4_096
#: Verdicts in one command; a member that has more to say says it in several.
HEALTH_REPORTS_MAX = 64
HEALTH_DETAIL_LENGTH_MAX = 200
#: Queues that their users make; dead letters have queues of their own beside them.
QUEUES_MAX = 10_000
#: Items over all queues, and the bytes of their payloads: a new one beyond is refused.
ITEMS_MAX = 1_000_000
ITEMS_BYTES_MAX = 512 << 20
ITEM_BYTES_MAX = 256 * 1024
PRIORITY_MAX = 1_000_000
DELAY_MS_MAX = 366 * 24 * 3_600_000
#: What a queue does that nobody gave other settings.
VISIBILITY_MS = 30_000
ATTEMPTS_PER_ITEM = 5
ATTEMPTS_PER_ITEM_MAX = 1_000
#: Items of one delivery; the answer that shows them is no longer than RECEIVED_BYTES_MAX, or holds one.
RECEIVED_MAX = 256
RECEIVED_BYTES_MAX = 1 << 20
#: Keys of items that are gone, per queue and (in equal shares) over all queues: their puts are still known as repeated.
DONE_KEYS_KEPT_PER_QUEUE = 10_000
DONE_KEYS_KEPT = 1_000_000
#: Payload that a run gets as a variable; Linux takes no longer one than 128 KiB.
ITEM_VARIABLE_BYTES_MAX = 100 * 1024
#: Items that one turn of the leader's planner makes runs of, for one job and for all.
TAKEN_PER_JOB_MAX = 32
TAKEN_PER_PLAN_MAX = 256
#: Items of a queue that are looked at to find the first that is not delayed.
OLDEST_SEARCHED_MAX = 100
#: Dead letters that one command puts back.
REPLAYED_MAX = 1_000
#: A member's fall counts with the one before it if it comes within this time, and each doubles the time that the member
#: must be well before a standby job goes back to it: so many times, and at most to so long (or to as long as asked).
FLAP_FORGOTTEN_MS = 3_600_000
FLAP_DOUBLINGS_MAX = 5
FAILBACK_HOLD_MS_MAX = 3_600_000
#: Locks that somebody holds or waits for; waiters of one lock, and of all; a new one beyond is refused.
LOCKS_MAX = 100_000
LOCK_WAITERS_MAX = 4_096
LOCK_WAITING_MAX = 200_000
PERMITS_MAX = 10_000
#: How long the place of a lost grant stays taken if nothing else is said: by the end of its lease the holder has been
#: told or ended, and this is for what it had sent off before. Kill grace of a node that was cut off, and a little.
LOCK_DELAY_MS = 500
LOCK_DELAY_MS_MAX = 3_600_000
#: Waits that the search for a deadlock looks at; a longer cycle is left to the time-outs.
DEADLOCK_WAITS_MAX = 20_000
#: Owners that the sentence about a deadlock names.
DEADLOCK_NAMED_MAX = 8
#: Grants that one turn of the leader's planner proposes, and for one lock.
GRANTS_PER_PLAN_MAX = 256
GRANTS_PER_LOCK_MAX = 64
#: How long the shards of a parallel run wait for each other. Then those start that are ready, if they are enough.
BARRIER_MS_MAX = 30_000
#: Characters of `where`, and how deep it may be nested.
WHERE_LENGTH_MAX = 1_024
WHERE_DEPTH_MAX = 32
TIMEOUT_MS_MAX = 30 * 24 * 3_600_000
EVERY_MS_MIN = 100

assert RUNS_KEPT_PER_JOB <= LEDGER_KEPT_PER_JOB
assert LEDGER_KEPT // JOBS_MAX >= 10
assert MISFIRE_REPLAY_MAX <= SLOTS_PER_FIRE_MAX <= LEDGER_KEPT_PER_JOB
assert QUEUED_SLOTS_MAX <= LIVE_RUNS_PER_JOB_MAX <= LEDGER_KEPT_PER_JOB
assert SLOTS_PER_FIRE_MAX <= GAP_SLOTS_MAX < LEDGER_KEPT_PER_JOB
assert GAP_SLOTS_MAX <= SLOTS_LISTED_PER_PLAN_MAX
assert 2 * CLOCK_BOUND_MS < SLICE_GUARD_MS
assert SLICE_GUARD_MS + SLICE_ROOM_MS_MIN < SLICE_MS_MIN
assert SLICE_TAIL_BYTES_MAX <= OUTPUT_TAIL_BYTES_MAX
assert GAP_SLOTS_MAX < SLICE_SLOTS_SEARCHED_MAX
assert FIRES_PER_PLAN_MAX + PLACEMENTS_PER_PLAN_MAX + CURSORS_READ_PER_PLAN_MAX < PLANS_IN_FLIGHT_MAX
assert CHANGE_BYTES_MIN + KEY_BYTES_MAX + VALUE_BYTES_MAX <= CHANGES_KEPT_BYTES
assert GRANTS_PER_LOCK_MAX <= GRANTS_PER_PLAN_MAX < PLANS_IN_FLIGHT_MAX
assert LOCK_WAITERS_MAX <= DEADLOCK_WAITS_MAX
assert LOCK_DELAY_MS <= LOCK_DELAY_MS_MAX
assert RESTORE_PART_BYTES_MAX <= RESTORE_BYTES_MAX <= RESTORE_PART_BYTES_MAX * RESTORE_PARTS_MAX
assert ITEM_BYTES_MAX <= RECEIVED_BYTES_MAX <= ITEMS_BYTES_MAX
assert DONE_KEYS_KEPT // QUEUES_MAX >= 100

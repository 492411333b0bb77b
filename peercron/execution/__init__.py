"""Execution: attempts as processes and HTTP calls, and the certainty that they end when they must.

    node ── socketpair ── guardian ── one shepherd per attempt ── the command and all that it starts

The node's process decides; the *guardian* (a small process of its own, in a session of its own) starts one *shepherd*
per attempt and keeps the time: timeouts, the node's lease, the end of the node. The shepherd is a child subreaper: it
starts the command, reads its output into a bounded file and reaps everything that ever came from it. Who hangs or dies
takes nothing down with it and leaves nothing behind:

| lost                        | who ends the attempts                                                                  |
|-----------------------------|----------------------------------------------------------------------------------------|
| node killed                 | the guardian, at once: its socket closed                                               |
| node hung, stopped, cut off | the guardian, when the lease ends: TERM at `stop_at`, KILL at `kill_at`                |
| guardian killed             | each shepherd its own, at once; the node starts a new guardian                         |
| guardian hung or stopped    | each shepherd its own at `kill_at`: the lease lies in a page of memory that they share |
| shepherd killed             | the kernel the command (parent death signal), the guardian the rest                    |
| disk hung                   | the guardian: it touches no disk; a shepherd that does is only its own attempt's       |
| all three killed            | the next boot, by the records in `attempts/`, before it runs anything                  |

Job classes run in *workers*: processes of ours that the guardian starts like any attempt. Some have imported the
classes already and wait, without a lease or work; each is handed one attempt, and is that attempt from then on.

House rules:
1. The guardian never waits: not for a disk, not for a program to start, not for the node to read.
2. A tree is found by descent, not by group, session or environment: with a subreaper at its root nothing escapes by
   setsid, double fork or an emptied environment. What another service runs for it (`docker run`, `at`) is not ours.
   Where guardian and shepherd were both killed only the records are left: then who has left its parent *and* emptied
   its environment is not found. A cgroup would be the cure.
3. A process is signalled through a pidfd after its start time was compared: a recycled pid is never hit.
4. An attempt is reported as ended only when none of its processes is left.
5. guardian, shepherd and what they import use the standard library and light modules only: they are forked often.
"""

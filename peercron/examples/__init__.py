"""examples: how what is around the cluster refuses what comes too late.

A program that holds a lock, works on an item or runs for a job can be stopped for any time, by a full machine or a
paused one, at any place of its code, also between "the lock is mine" and "write". When it goes on, somebody else holds
the lock. No client can prevent that by itself; the receiver can, if it looks at the fencing token: the number that
comes with every grant (`lock.token`, `item.token`, PEERCRON_FENCING_TOKEN) and that grows with every grant, for ever.
The rule is the same everywhere: keep the largest token seen, and refuse smaller ones, in the same step as the write.

- `postgresql`: a database, by a function that is called first in the transaction that writes
- `service`: a service over HTTP, by a header, with its own memory or by asking the cluster
- `file`: a file, by a second one beside it

What cannot keep a token can keep an idempotency key (`item.key`, PEERCRON_RUN_ID), which is the same for all tries of
one piece of work: a unique column, so that a second try changes nothing.
"""

"""Consensus: pysyncobj's kernel for votes and commits, inside a journal, a guard and a transport of our own.

`raft` is the only module that knows pysyncobj. `replica` is the sans-IO whole: messages, proposals and time go in;
records to write, messages to send and entries to apply come out. `driver` puts it on an asyncio loop, a disk and
sockets; `tests/sim` puts the same replica on a virtual clock, links and disks.
"""

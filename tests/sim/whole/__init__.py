"""Whole nodes in one process, under a clock, a network, disks and attempts that one seed decides.

What is real: `peercron.node.Node` and everything below it but sockets, files and processes. Each simulated process has
a loop of its own (`loop`), so that it can be late, stand still, run fast or slow, and die between any two callbacks.
What clients saw and what ran is all that the checker (`checker`) knows.
"""

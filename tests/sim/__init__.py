"""A simulator of the consensus: the real kernel, guard and journal under a virtual clock, virtual links and disks."""

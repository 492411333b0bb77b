"""The pure core: plain data, and the functions that read and change it.

House rules:
1. No IO, no clock, no randomness. What time it is, and who asks, comes in as an argument.
2. `apply` is the only function that changes a `ClusterState`, and it never raises: a refusal is a value.
3. Rows are frozen. Who holds a row never sees it move; a change is a new row in the table.
4. Replicated data is integers, strings, bytes, tuples and rows of these: no floats, datetimes, or sets.
5. Nothing here imports from outside `peercron.core` but the standard library and croniter (in `schedule` alone).
"""

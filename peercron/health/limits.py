"""The bounds of the health checks, by name."""

from __future__ import annotations

from typing import Final

#: Probes under way at a time on one node; more wait for their turn.
PROBES_AT_ONCE_MAX: Final = 16
#: Looks at files and at the process table at a time.
THREADS_MAX: Final = 4
#: Of a command's output so much is kept, of which the last line is shown.
OUTPUT_BYTES_MAX: Final = 4_096
PID_FILE_BYTES_MAX: Final = 64
#: The kernel keeps no more of a process's name.
PROCESS_NAME_BYTES_MAX: Final = 15
#: How long the end of a killed command is waited for before it is left to init.
KILL_WAIT_S: Final = 1.0

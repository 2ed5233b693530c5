"""The memory of this process, as Linux counts it (https://man7.org/linux/man-pages/man5/proc_pid_status.5.html).

The high-water mark can be set back to what is resident now (`clear_refs`,
https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html): so the peak of one stretch can be told.
"""

import re
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_mib() -> float:
    """Return what is resident now."""
    return read_mib("VmRSS")


def peak_mib() -> float:
    """Return the most that was resident since the start, or since `forget_peak`."""
    return read_mib("VmHWM")


def forget_peak() -> None:
    """Let the peak begin anew from what is resident now."""
    CLEAR.write_text("5")


def read_mib(name: str) -> float:
    """Read one of the process's sizes."""
    match = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    if match is None:
        raise RuntimeError(f"{STATUS} does not tell {name}")
    return int(match[1]) / 1024

"""The clocks of this machine: for durations only, never for times that are shared or kept."""

from __future__ import annotations

import hashlib
import time
from functools import cache
from pathlib import Path

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def boottime() -> float:
    """Return seconds since boot, counting suspension where the system can (Linux); elsewhere the monotonic clock.

    A permit's age and a deadline must grow while a laptop sleeps or a process is stopped.
    """
    if _BOOTTIME is not None:
        return time.clock_gettime(_BOOTTIME)
    return time.monotonic()


@cache
def machine_id() -> str:
    """Name what gives this process its id: the boot and the process namespace; '' where that can't be told.

    Of two processes with the same machine id, each can see whether the other still runs. Host names don't promise
    that: containers and cloned machines share them.
    """
    try:
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot_id()} {space}".encode()).hexdigest()[:8] if boot_id() else ""


@cache
def boot_id() -> str:
    """Name this boot of this machine; '' where it can't be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def clock_id() -> str:
    """Name what `boottime()` counts from: the boot and the time namespace; '' where that can't be told.

    Of two readings under one clock id, the difference is the time that passed. Containers of one machine can have boot
    clocks that are days apart.
    """
    try:
        space = Path("/proc/self/ns/time").readlink()
    except OSError:  # a kernel without such namespaces
        return boot_id()
    return f"{boot_id()} {space}" if boot_id() else ""

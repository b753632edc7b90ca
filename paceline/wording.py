"""Write numbers for people: the same in the command, in reports and on pages."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Write seconds for people: 8 s, 2 min 05 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def per(seconds: float) -> str:
    """Write an interval for people, to stand behind "each": minute, 10 minutes, 2 hours, 2.5 s."""
    for unit_s, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit_s and seconds % unit_s == 0:
            return unit if seconds == unit_s else f"{seconds / unit_s:g} {unit}s"
    return "second" if seconds == 1 else f"{seconds:g} s"


def size(size_bytes: int) -> str:
    """Write bytes for people, in powers of ten: 999 B, 12.3 kB, 4.5 GB."""
    value, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{size_bytes} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def amount(credits: float) -> str:
    """Write credits for people, to the hundredth, whatever the size: 1,234,567.5."""
    return f"{credits:,.2f}".rstrip("0").rstrip(".")

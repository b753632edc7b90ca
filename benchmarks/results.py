"""Keeps the last tables in RESULTS.md, one section per part: writing one part leaves the others as they are."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import Table, as_markdown

_TITLE = """# Results

Written by `make bench WRITE=1`, which measures everything; without `WRITE=1` it only prints, `PART=pace` names one part
or several, `LONG=1` takes longer. Every section says which command made it, where and when. Ratios compare things
measured in the same run; "rival" is somebody else's way of doing the same.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """What one part came to: its tables, the command that made them, the machine at that moment."""

    part: str
    command: str
    machine: str
    tables: Sequence[Table]


def machine() -> str:
    """Describe this machine and how busy it is with other things, in a line."""
    load = os.getloadavg()[0]
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()},"
        f" {platform.system()} {platform.release()}, load before {load:.1f}, {moment}"
    )


def write_results(path: Path, section: Section, order: Sequence[str]) -> None:
    """Put a section in its place in the file, and its pictures beside it, replacing older ones of the same part."""
    sections = read_sections(path.read_text("utf-8")) if path.exists() else {}
    lines = [f"`{section.command}` on {section.machine}."]
    for table in section.tables:
        title = [f"### {table.part}"] if len(section.tables) > 1 else []
        lines += ["", *title, *([""] if title else []), as_markdown(table)]
        if table.picture is not None:
            path.with_name(table.picture.file).write_text(table.picture.svg, "utf-8")
    sections[section.part] = "\n".join(lines)
    parts = [part for part in order if part in sections]
    body = "".join(f"\n## {part}\n\n{sections[part]}\n" for part in parts)
    path.write_text(_TITLE + body, "utf-8")


def read_sections(text: str) -> dict[str, str]:
    """Return the text of each section by its part's name."""
    pieces = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}

"""Write what reading verbs found: JSON for programs, aligned columns for people, always on stdout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from config.logs import printable
from paceline.wording import amount as amount
from paceline.wording import counted as counted
from paceline.wording import size as size


def print_json(value: Any) -> None:
    """Print a value as JSON. ASCII only: names that aren't UTF-8 survive as surrogate escapes."""
    click.echo(json.dumps(value, indent=2))


def print_columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> None:
    """Print rows of equal length in aligned columns; no name can move the cursor or begin a new line."""
    safe = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*safe, strict=True)]
    for row in safe:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo(f"{indent}{'  '.join(cells)}".rstrip())


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print named facts, one a line, under a heading."""
    for name, text in fields:
        click.echo(f"  {name:<12} {printable(text)}")


def local_time(ms: int) -> str:
    """Write milliseconds since the epoch as this machine's wall clock shows it, to the second."""
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")

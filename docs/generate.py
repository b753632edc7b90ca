"""Writes the parts of the docs that the code knows best: `python -m docs.generate`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

import click

from cli.exits import Exit
from cli.main import VERBS, cli
from config import docs as settings
from docs import metric_parts, plan_example, provider_parts, scaling_parts
from docs.blocks import put
from monitor.catalog import WaitsFor
from paceline import redis_keys
from paceline.lifecycle import TABLE
from paceline.model import BatchState, Outcome, SkipReason, State
from paceline.sinks.sql import BATCHES, SQLITE, postgres
from paceline.tables import TABLES, Table
from paceline.verifying.findings import Kind

ROOT = Path(__file__).resolve().parent.parent

HELP_WIDTH = 100


def state_table() -> str:
    """Return the transitions as a table."""
    rows = ["| verb | from | to | when, and what it does |", "|---|---|---|---|"]
    for verb, row in TABLE.items():
        sources = ", ".join(f"`{state}`" for state in row.sources) or "–"
        rows.append(f"| `{verb}` | {sources} | `{row.target}` | {row.note} |")
    return "\n".join(rows)


def redis_table() -> str:
    """Return the table of keys that the module which spells them begins with."""
    return "\n".join(line for line in (redis_keys.__doc__ or "").splitlines() if line.startswith("|"))


def words(kind: type[Enum], *, head: str) -> str:
    """Return an enumeration's members with the comments behind them in the code; one without a comment stands alone."""
    numbered = issubclass(kind, int)
    notes = dict(re.findall(r"^ {4}([A-Z_]+) = [^#\n]+?(?:  # (.*))?$", inspect.getsource(kind), re.M))
    rows = [f"| {head} | |", "|---|---|"]
    for member in kind:
        shown = str(int(member.value)) if numbered else f"`{member.value}`"
        rows.append(f"| {shown} | {notes[member.name]} |")
    return "\n".join(rows)


def verbs_help() -> str:
    """Return every verb's `--help`."""
    above = click.Context(
        cli, info_name="paceline", terminal_width=HELP_WIDTH, max_content_width=HELP_WIDTH, **cli.context_settings
    )
    parts = [f"## paceline\n\n{_fenced(cli.get_help(above))}"]
    for name in VERBS:
        verb = cli.get_command(above, name)
        assert verb is not None
        context = click.Context(
            verb, info_name=name, parent=above, terminal_width=HELP_WIDTH, max_content_width=HELP_WIDTH
        )
        parts.append(f"## paceline {name}\n\n{_fenced(verb.get_help(context))}")
        for word, one in verb.commands.items() if isinstance(verb, click.Group) else ():
            if not one.hidden:
                below = click.Context(
                    one, info_name=word, parent=context, terminal_width=HELP_WIDTH, max_content_width=HELP_WIDTH
                )
                parts.append(f"### paceline {name} {word}\n\n{_fenced(one.get_help(below))}")
    return "\n\n".join(parts)


def tables() -> str:
    """Return the tables of results with their columns."""
    return "\n\n".join(_table(table) for table in TABLES)


def _table(table: Table) -> str:
    rows = ["| column | holds | |", "|---|---|---|"]
    rows += [f"| `{column.name}` | {column.kind} | {column.about} |" for column in table.columns]
    key = ", ".join(f"`{name}`" for name in table.key)
    return f"### `{table.name}`: {table.about}\n\nKey: {key}\n\n" + "\n".join(rows)


def database_types() -> str:
    """Return how the databases spell the kinds of columns."""
    here, there = SQLITE.types, postgres("").types
    rows = [f"| {kind} | {here[kind]} | {there[kind]} |" for kind in here]
    return "\n".join(["| column holds | SQLite | PostgreSQL |", "|---|---|---|", *rows])


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


BLOCKS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {"exit-codes": lambda: words(Exit, head="exit code")},
    "docs/architecture.md": {"redis-keys": redis_table},
    "docs/lifecycle.md": {
        "states": lambda: words(State, head="state"),
        "transitions": state_table,
        "outcomes": lambda: words(Outcome, head="outcome"),
        "skip-reasons": lambda: words(SkipReason, head="reason"),
        "batch-states": lambda: words(BatchState, head="state"),
    },
    "docs/providers.md": {
        "entry-point": provider_parts.entry_point,
        "capabilities": provider_parts.capabilities,
        "example": provider_parts.example,
        "bench": provider_parts.bench,
    },
    "docs/metrics.md": {
        "metrics": metric_parts.table,
        "waits-for": lambda: words(WaitsFor, head="waits for"),
        "alerts": metric_parts.alerts,
    },
    "docs/operations.md": {"differences": lambda: words(Kind, head="kind")},
    "docs/cli.md": {"verbs": verbs_help},
    "docs/results.md": {"tables": tables},
    "docs/results-databases.md": {"batches": lambda: _table(BATCHES), "types": database_types},
    "docs/scaling.md": {"measured": scaling_parts.measured, "computed": scaling_parts.computed},
    "docs/planning.md": {"plan": plan_example.screen, "plan-json": plan_example.json_output},
}
"""Page → block → what writes it. Blocks that are recorded rather than generated aren't here."""


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return every page with a generated part as it should be now."""
    made = {"docs/settings.md": settings.pages()}
    for name, blocks in BLOCKS.items():
        page = (root / name).read_text("utf-8")
        for block, write in blocks.items():
            page = put(page, block, write())
        made[name] = page
    return made


def main() -> None:
    """Write what has changed."""
    for name, page in pages().items():
        path = ROOT / name
        if not path.exists() or path.read_text("utf-8") != page:
            path.write_text(page, "utf-8")
            print(f"written: {name}")


if __name__ == "__main__":
    main()

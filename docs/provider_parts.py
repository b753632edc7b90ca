"""Writes the parts of docs/providers.md that the code knows: what providers can do, the example, its bench."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

from paceline.providers.base import Capabilities
from paceline.providers.kinds import provider_kind

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = "examples/paceline-rest/paceline_rest.py"
CONTRACT = "tests/contract/test_provider_contract.py"

MEANINGS = {
    "uploads_files": "files travel as they are; else inside other values, and `weights` says what they weigh there",
    "asks_after_many": "runs that one call of `ask` may name; 0: a request for each",
    "finds_many": "external ids that one call of `find` may name; 0: a lost answer waits for a person",
    "cancels": "`delete` ends a run, for `paceline cancel` too; else runs are followed to their end",
    "waits_s": "seconds that the call which starts a run can wait for its end; 0: `--wait-seconds` is refused",
    "due_dates": "`SubmitRequest.due` means something; else `--due` is refused",
    "partial_results": "a run shows results before its end",
    "reports_credits": "runs say what they cost; else `--max-credits` is refused",
}
"""Every capability in words."""


def capabilities() -> str:
    """Return what a provider can say of itself, and what ours say, as a table."""
    kinds = [provider_kind(name) for name in ("kolena", "kindo")]
    rows = ["| capability | means | Kolena | Kindo |", "|---|---|---|---|"]
    for field in fields(Capabilities):
        values = " | ".join(_written(getattr(kind.capabilities, field.name)) for kind in kinds)
        rows.append(f"| `{field.name}` | {MEANINGS[field.name]} | {values} |")
    return "\n".join(rows)


def _written(value: object) -> str:
    return ("yes" if value else "–") if isinstance(value, bool) else str(value)


def example() -> str:
    """Return the whole example."""
    return _fenced((ROOT / EXAMPLE).read_text("utf-8"))


def entry_point() -> str:
    """Return the lines of the example's pyproject.toml that name it."""
    project = (ROOT / EXAMPLE).with_name("pyproject.toml").read_text("utf-8")
    tables = project.split("\n\n")
    return _fenced("\n\n".join(table for table in tables if table.startswith("[project")), "toml")


def bench() -> str:
    """Return how the contract is run over the example."""
    source = (ROOT / CONTRACT).read_text("utf-8")
    wanted = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    lines = source.splitlines()
    parts = []
    for name in ("rest", "TestRest"):
        node = wanted[name]
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        inside = [one for one in node.body if isinstance(one, ast.FunctionDef)]  # of the class: its first method
        last = inside[0].end_lineno if inside else node.end_lineno
        parts.append("\n".join(lines[first - 1 : last]))
    return _fenced("\n\n\n".join(parts))


def _fenced(text: str, language: str = "python") -> str:
    return f"```{language}\n{text.strip()}\n```"

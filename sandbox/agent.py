"""The work the sandbox's agents really do on what was uploaded: results can be checked against the files on disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sandbox.facts import FileFacts

MAX_CITATIONS = 10


@dataclass(frozen=True, slots=True)
class PromptResult:
    """One prompt's finished work: its name, and ``value`` and ``metadata`` already as JSON."""

    name: str
    value: bytes
    metadata: bytes


def inventory(files: Sequence[FileFacts]) -> tuple[Any, str]:
    """List every file with what was counted in it."""
    value = [
        {
            "file": file.name,
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
            "words": file.words,
            "lines": file.lines,
            "kind": file.kind,
        }
        for file in files
    ]
    return value, f"Read {len(files)} files from end to end."


def totals(files: Sequence[FileFacts]) -> tuple[Any, str]:
    """Add up the files; words and lines are those of the text files."""
    value = {
        "files": len(files),
        "size_bytes": sum(file.size_bytes for file in files),
        "words": sum(file.words or 0 for file in files),
        "lines": sum(file.lines or 0 for file in files),
    }
    return value, "Added up the inventory."


def kinds(files: Sequence[FileFacts]) -> tuple[Any, str]:
    """Count the files of each kind."""
    return dict(sorted(Counter(file.kind for file in files).items())), "Judged by first bytes, then by extension."


def largest_file(files: Sequence[FileFacts]) -> tuple[Any, str]:
    """Name the largest file, the first one of several."""
    largest = max(files, key=lambda file: file.size_bytes)
    return largest.name, f"It has {largest.size_bytes} bytes."


def checksums(files: Sequence[FileFacts]) -> tuple[Any, str]:
    """Map every file to its SHA-256; of twins with one name the last counts."""
    return {file.name: file.sha256 for file in files}, "Hashed while the upload arrived."


def first_lines(files: Sequence[FileFacts]) -> tuple[Any, str]:
    """Map every text file to its first line."""
    return {file.name: file.first_line for file in files if file.first_line is not None}, "Text files only."


PROMPTS: Mapping[str, Callable[[Sequence[FileFacts]], tuple[Any, str]]] = MappingProxyType(
    {
        "Inventory": inventory,
        "Totals": totals,
        "Kinds": kinds,
        "Largest file": largest_file,
        "Checksums": checksums,
        "First lines": first_lines,
    }
)

INVENTORY_ORDER = ("Inventory", "Totals", "Kinds", "Largest file")
CHECKSUM_ORDER = ("Checksums", "First lines", "Totals")


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as the API shows it; ``order`` names its prompts."""

    id: int
    name: str
    order: tuple[str, ...]


def agents_from(names: Mapping[int, str]) -> dict[int, Agent]:
    """Give each agent its prompts: number 2 does checksums, every other one the inventory."""
    return {id_: Agent(id_, name, CHECKSUM_ORDER if id_ == 2 else INVENTORY_ORDER) for id_, name in names.items()}


def work(order: Sequence[str], files: Sequence[FileFacts]) -> tuple[PromptResult, ...]:
    """Answer the prompts named in ``order`` about at least one file."""
    results = []
    for name in order:
        value, reasoning = PROMPTS[name](files)
        cited = [file for file in files if file.name == value] if name == "Largest file" else files
        metadata = {
            "reasoning": reasoning,
            "confidence": 1.0,
            "citations": [
                {"file": file.name, "pages": [1] if file.kind == "pdf" else None, "regions": None}
                for file in cited[:MAX_CITATIONS]
            ],
            "url_citations": None,
        }
        results.append(PromptResult(name, to_json(value), to_json(metadata)))
    return tuple(results)


def to_json(value: object) -> bytes:
    """Serialize compactly, in ASCII: file names may hold anything."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")

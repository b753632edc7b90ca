"""The sandbox's Kindo agents and the work they do. They are fixed, with ids that are easy to type:

- 11111111-1111-4111-8111-111111111111: one input, ``documents``
- 22222222-2222-4222-8222-222222222222: two inputs, ``documents`` and ``language``
- 33333333-3333-4333-8333-333333333333: one input, ``files``
- 44444444-4444-4444-8444-444444444444: has triggers and can't be run
- 55555555-5555-4555-8555-555555555555: succeeds without a result
- 66666666-6666-4666-8666-666666666666: always fails
- 77777777-7777-4777-8777-777777777777: is always cancelled

Those from 4 on have the input ``documents``. What an agent finds is JSON in a Markdown fence in the last part of the
result: ``{"agent", "inventory": [document], "totals": {"files", "size_bytes", "words", "lines"}, "inputs"}``, a
document as in ``Document.to_dict``, ``inputs`` holding the inputs other than the documents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sandbox.kindo_documents import Document

SUCCESS, FAILURE, CANCELLED = "success", "failure", "cancelled"


@dataclass(frozen=True, slots=True)
class KindoAgent:
    """An agent: ``inputs`` are its labels, the documents' first; ``ends`` is how its runs end, with a result or not."""

    id: str
    name: str
    inputs: tuple[str, ...] = ("documents",)
    has_triggers: bool = False
    ends: str = SUCCESS
    has_result: bool = True

    @property
    def documents_input(self) -> str:
        """Name the input that holds the documents."""
        return self.inputs[0]


def _id(digit: int) -> str:
    d = str(digit)
    return f"{d * 8}-{d * 4}-4{d * 3}-8{d * 3}-{d * 12}"


KINDO_AGENTS: Mapping[str, KindoAgent] = MappingProxyType(
    {
        agent.id: agent
        for agent in (
            KindoAgent(_id(1), "Document inventory"),
            KindoAgent(_id(2), "Inventory in a language", ("documents", "language")),
            KindoAgent(_id(3), "File inventory", ("files",)),
            KindoAgent(_id(4), "Inbox watcher", has_triggers=True),
            KindoAgent(_id(5), "Silent inventory", has_result=False),
            KindoAgent(_id(6), "Failing inventory", ends=FAILURE, has_result=False),
            KindoAgent(_id(7), "Cancelled inventory", ends=CANCELLED, has_result=False),
        )
    }
)


def found(agent: KindoAgent, documents: Sequence[Document], inputs: Mapping[str, str]) -> str:
    """Do the agent's work; give the JSON text of what it found."""
    payload = {
        "agent": agent.name,
        "inventory": [document.to_dict() for document in documents],
        "totals": {
            "files": len(documents),
            "size_bytes": sum(document.size_bytes or 0 for document in documents),
            "words": sum(document.words or 0 for document in documents),
            "lines": sum(document.lines or 0 for document in documents),
        },
        "inputs": dict(inputs),
    }
    return json.dumps(payload, ensure_ascii=False, indent=2)


def message(text: str) -> str:
    """Wrap an answer as live results are: JSON text of a message whose first part only says that a step began."""
    parts = [{"type": "step-start"}, {"type": "text", "text": text}]
    return json.dumps({"role": "assistant", "parts": parts}, ensure_ascii=False)


def fenced(text: str) -> str:
    """Put an answer into a Markdown fence, as models do."""
    return f"```json\n{text}\n```"

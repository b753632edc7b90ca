"""The faults a sandbox can be told to have, and which request gets which.

A fault is written ``KIND[@CLASS[+CLASS…]][:NAME=VALUE[,NAME=VALUE…]]``, for example ``status@add:code=503,p=0.1`` or
``accept_then_drop@add+wait:count=2``. Percent-escapes are decoded in values, so a comma is ``%2C``.

Of the faults that apply to a request, the first one that fires decides what happens to it; only delays add up, and the
outcomes of runs (fail_runs, never_finish, slow_runs) are drawn on their own when a run is accepted.

``agent=`` keeps a fault to one agent. A trigger of Kindo's names its agent in the body, which is read after the
draw: of its faults only outcomes can be kept to one agent.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from sandbox.fault_kinds import KINDS, Stage


@dataclass(slots=True)
class Fault:
    """A fault in force.

    It fires on a request of ``classes`` (and of ``agent_id``, unless None) with ``probability``, after letting the
    first ``skip`` of them pass, and ends after firing ``count`` times (None: never).
    """

    id: int
    kind: str
    classes: tuple[str, ...]
    parameters: dict[str, Any]
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    agent_id: int | str | None = None
    fired: int = 0

    @property
    def stage(self) -> Stage:
        """Say when it strikes."""
        return KINDS[self.kind].stage

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form that ``fault_from`` reads, with ``id`` and ``fired`` beside it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "classes": list(self.classes),
            "p": self.probability,
            "count": self.count,
            "skip": self.skip,
            "agent": self.agent_id,
            "fired": self.fired,
            **self.parameters,
        }


def parse_spec(spec: str) -> dict[str, Any]:
    """Turn ``KIND@CLASS+CLASS:NAME=VALUE,…`` into the JSON form; raise ValueError when it doesn't read so."""
    head, _, tail = spec.strip().partition(":")
    kind, at, classes = head.partition("@")
    form: dict[str, Any] = {"kind": kind}
    if at:
        form["classes"] = [name for name in classes.split("+") if name]
    for pair in filter(None, tail.split(",")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} in fault {spec!r} isn't NAME=VALUE")
        form[name.strip()] = unquote(value)
    return form


def fault_from(form: Mapping[str, Any], id_: int) -> Fault:
    """Check a fault's JSON form ``{"kind", "classes"?, "p"?, "count"?, "skip"?, "agent"?, PARAMETER…}``.

    Raises ValueError for an unknown kind, class or parameter, and for a value that isn't of its type.
    """
    rest = dict(form)
    name = rest.pop("kind", None)
    kind = KINDS.get(str(name))
    if kind is None:
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(KINDS)}")
    classes = rest.pop("classes", kind.classes)
    if isinstance(classes, str):
        classes = classes.split("+")
    for class_ in classes:
        if class_ not in kind.classes:
            raise ValueError(f"fault {name} doesn't apply to {class_!r}, only to {', '.join(kind.classes)}")
    probability = float(rest.pop("p", 1.0))
    if not 0 <= probability <= 1:
        raise ValueError(f"fault {name}: p={probability} isn't between 0 and 1")
    count, skip, agent = rest.pop("count", None), rest.pop("skip", 0), rest.pop("agent", None)
    parameters = {key: _typed(name, key, rest.pop(key, default), default) for key, default in kind.parameters.items()}
    if rest:
        raise ValueError(f"fault {name} has no {', '.join(sorted(rest))}")
    return Fault(
        id=id_,
        kind=str(name),
        classes=tuple(classes),
        parameters=parameters,
        probability=probability,
        count=None if count is None else int(count),
        skip=int(skip),
        agent_id=None if agent is None else _agent(agent),
    )


def _agent(given: object) -> int | str:
    """Read a Kolena agent's number or a Kindo agent's uuid; raise ValueError for anything else."""
    text = str(given)
    return str(UUID(text)) if "-" in text else int(text)


def _typed(kind: object, name: str, value: object, default: object) -> object:
    if value is None:
        raise ValueError(f"fault {kind} needs {name}=…")
    if default is None:
        return str(value)
    try:
        return type(default)(value)  # type: ignore[call-arg]  # int, float or str, as KINDS says
    except (TypeError, ValueError) as error:
        raise ValueError(f"fault {kind}: {name}={value!r} isn't {type(default).__name__}") from error


class FaultBox:
    """The faults in force and the seeded dice that decide between them."""

    def __init__(self, specs: Iterable[str], seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - the point is that it can be repeated
        self._next_id = 1
        self._faults: list[Fault] = []
        for spec in specs:
            self.add(parse_spec(spec))

    def add(self, form: Mapping[str, Any]) -> Fault:
        """Put a fault in force; raise ValueError if it can't be understood."""
        fault = fault_from(form, self._next_id)
        self._next_id += 1
        self._faults.append(fault)
        return fault

    def clear(self, id_: int | None = None, kind: str | None = None) -> int:
        """End the faults with that id or kind, all of them without either; say how many."""
        kept = [
            fault
            for fault in self._faults
            if (id_ is not None and fault.id != id_) or (kind is not None and fault.kind != kind)
        ]
        ended = len(self._faults) - len(kept)
        self._faults = kept
        return ended

    def in_force(self) -> list[Fault]:
        """Give the faults, oldest first; one that has fired as often as it may stays until it is cleared."""
        return list(self._faults)

    def draw(self, request_class: str, agent_id: int | str | None) -> tuple[Fault | None, float]:
        """Decide what happens to a request: the first fault that fires, and how many seconds its answer is late."""
        chosen: Fault | None = None
        delay_s = 0.0
        for fault in self._faults:
            if fault.stage is Stage.OUTCOME or (chosen is not None and fault.stage is not Stage.DELAY):
                continue
            if self._fires(fault, request_class, agent_id):
                if fault.stage is Stage.DELAY:
                    delay_s += fault.parameters["seconds"]
                else:
                    chosen = fault
        return chosen, delay_s

    def draw_outcome(self, request_class: str, agent_id: int | str | None, names: Sequence[str] = ()) -> Fault | None:
        """Decide what becomes of a run of files of these names that is being accepted; None: what should."""
        for fault in self._faults:
            part = fault.parameters.get("file", "")
            meant = not part or any(part in name for name in names)
            if fault.stage is Stage.OUTCOME and meant and self._fires(fault, request_class, agent_id):
                return fault
        return None

    def _fires(self, fault: Fault, request_class: str, agent_id: int | str | None) -> bool:
        if request_class not in fault.classes or fault.agent_id not in (None, agent_id):
            return False
        if fault.count is not None and fault.fired >= fault.count:
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        if fault.probability < 1 and self.random.random() >= fault.probability:
            return False
        fault.fired += 1
        return True

"""A small PromQL: enough to read our dashboard and rules, find what they name, and evaluate rules on recorded scrapes.

Scrapes are a list of (time in seconds, samples), samples a mapping from (name, sorted label pairs) to a value. What
it doesn't know it refuses, so that no expression passes unread.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]
Scrapes = Sequence[tuple[float, Mapping[Series, float]]]
Vector = dict[Labels, float]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)(?![\w:])|(?P<range>\[[^\]]*\])|(?P<name>[A-Za-z_][\w:]*)|(?P<text>\"[^\"]*\")"
    r"|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%(){},=<>]))"
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "min": min,
    "max": max,
    "count": len,
    "avg": lambda found: sum(found) / len(found),
}
_COUNTED = {"rate", "increase"}
_OVER = {"delta", "avg_over_time", "min_over_time", "max_over_time"}
_PLAIN = {"absent", "time", "vector", "scalar", "abs", "clamp_min", "clamp_max", "round"}
_LEVELS = [{"or"}, {"and", "unless"}, {"==", "!=", ">", "<", ">=", "<="}, {"+", "-"}, {"*", "/", "%"}]
LOOKBACK_S = 300.0


@dataclass(frozen=True)
class Node:
    """A part of an expression: `kind` is number, selector, call, aggregate or binary; `parts` what it is made of."""

    kind: str
    word: str = ""
    parts: tuple[Node, ...] = ()
    matchers: tuple[tuple[str, str, str], ...] = ()
    range_s: float | None = None
    labels: tuple[str, ...] | None = None
    number: float = 0.0

    def selectors(self, above: tuple[str, ...] = ()) -> Iterator[tuple[Node, tuple[str, ...]]]:
        """Give every selector with the functions and aggregates around it, the outermost first."""
        if self.kind == "selector":
            yield self, above
        inner = (*above, self.word) if self.kind in ("call", "aggregate") else above
        for part in self.parts:
            yield from part.selectors(inner)

    def grouped(self) -> Iterator[str]:
        """Give every label that something is grouped or matched by."""
        yield from self.labels or ()
        for part in self.parts:
            yield from part.grouped()


class Parser:
    """Reads one expression. Raises `ValueError` where it isn't one, or has what this doesn't know."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise ValueError(f"unreadable at {text[at : at + 20]!r} in {text!r}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()

    def parse(self) -> Node:
        """Read all of it."""
        node = self._binary(0)
        if self.at < len(self.tokens):
            raise ValueError(f"{self._peek()!r} too much in {self.text!r}")
        return node

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _next(self, wanted: str = "") -> str:
        word = self._peek()
        if not word or (wanted and word != wanted):
            raise ValueError(f"{wanted or 'more'} expected, not {word!r}, in {self.text!r}")
        self.at += 1
        return word

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._one()
        left = self._binary(level + 1)
        while self._peek() in _LEVELS[level]:
            sign = self._next()
            on = self._names() if self._peek() == "on" and self._next() else None
            left = Node("binary", sign, (left, self._binary(level + 1)), labels=on)
        return left

    def _names(self) -> tuple[str, ...]:
        self._next("(")
        names = []
        while self._peek() != ")":
            names.append(self._next())
            if self._peek() == ",":
                self._next()
        self._next(")")
        return tuple(names)

    def _one(self) -> Node:
        kind, word = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        self._next()
        if kind == "number":
            return Node("number", number=float(word))
        if word == "(":
            node = self._binary(0)
            self._next(")")
            return node
        if kind != "name":
            raise ValueError(f"{word!r} begins nothing in {self.text!r}")
        if word in _AGGREGATES:
            by = self._names() if self._peek() == "by" and self._next() else ()
            return Node("aggregate", word, self._arguments(), labels=by)
        if self._peek() == "(":
            if word not in _COUNTED | _OVER | _PLAIN | {"histogram_quantile"}:
                raise ValueError(f"no function {word} known, in {self.text!r}")
            return Node("call", word, self._arguments())
        return self._selector(word)

    def _arguments(self) -> tuple[Node, ...]:
        self._next("(")
        found = []
        while self._peek() != ")":
            found.append(self._binary(0))
            if self._peek() == ",":
                self._next()
        self._next(")")
        return tuple(found)

    def _selector(self, name: str) -> Node:
        matchers, range_s = [], None
        if self._peek() == "{":
            self._next()
            while self._peek() != "}":
                matchers.append((self._next(), self._next(), self._next()[1:-1]))
                if self._peek() == ",":
                    self._next()
            self._next("}")
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "range":
            range_s = seconds(self._next()[1:-1])
        return Node("selector", name, matchers=tuple(matchers), range_s=range_s)


def seconds(text: str) -> float:
    """Read a duration; Grafana's own interval counts as a minute."""
    if text == "$__rate_interval":
        return 60.0
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise ValueError(f"no duration: {text!r}")
    return float(found[1]) * _UNITS[found[2]]


def parse(text: str) -> Node:
    """Read an expression."""
    return Parser(text).parse()


class Evaluator:
    """Evaluates expressions at the time of the last scrape, as Prometheus does, but for extrapolation of rates."""

    def __init__(self, scrapes: Scrapes) -> None:
        self.scrapes = scrapes
        self.now = scrapes[-1][0]

    def __call__(self, text: str) -> Vector:
        """Return the series that the expression comes to."""
        found = self._value(parse(text))
        return {(): found} if isinstance(found, float) else found

    def _value(self, node: Node) -> Vector | float:
        match node.kind:
            case "number":
                return node.number
            case "selector":
                rows = self._rows(node, LOOKBACK_S).items()
                return {labels: points[-1][1] for labels, points in rows}
            case "aggregate":
                return self._aggregate(node)
            case "call":
                return self._call(node)
            case _:
                return self._binary(node)

    def _rows(self, node: Node, back_s: float) -> dict[Labels, list[tuple[float, float]]]:
        rows: dict[Labels, list[tuple[float, float]]] = {}
        for at, samples in self.scrapes:
            if self.now - back_s <= at <= self.now:
                for (name, labels), value in samples.items():
                    if name == node.word and all(_fits(dict(labels), *one) for one in node.matchers):
                        rows.setdefault(labels, []).append((at, value))
        return rows

    def _vector(self, node: Node) -> Vector:
        found = self._value(node)
        assert isinstance(found, dict), node
        return found

    def _aggregate(self, node: Node) -> Vector:
        groups: dict[Labels, list[float]] = {}
        for labels, value in self._vector(node.parts[0]).items():
            groups.setdefault(_only(labels, node.labels or ()), []).append(value)
        return {labels: float(_AGGREGATES[node.word](values)) for labels, values in groups.items()}

    def _call(self, node: Node) -> Vector:
        if node.word in _COUNTED | _OVER:
            (selector,) = node.parts
            assert selector.range_s is not None, "a range is needed"
            rows = self._rows(selector, selector.range_s)
            return {labels: _over(node.word, points, selector.range_s) for labels, points in rows.items()}
        if node.word == "histogram_quantile":
            share = self._value(node.parts[0])
            assert isinstance(share, float)
            return _quantiles(share, self._vector(node.parts[1]))
        if node.word == "absent":
            return {} if self._vector(node.parts[0]) else {(): 1.0}
        raise ValueError(f"{node.word} isn't evaluated")

    def _binary(self, node: Node) -> Vector | float:
        left, right = map(self._value, node.parts)
        if node.word in ("and", "or", "unless"):
            assert isinstance(left, dict)
            assert isinstance(right, dict)
            there = {_match(labels, node.labels) for labels in right}
            if node.word == "or":
                mine = {_match(labels, node.labels) for labels in left}
                return left | {one: value for one, value in right.items() if _match(one, node.labels) not in mine}
            keep = node.word == "and"
            return {one: value for one, value in left.items() if (_match(one, node.labels) in there) is keep}
        if isinstance(left, float) and isinstance(right, float):
            return _apply(node.word, left, right) or 0.0
        if isinstance(left, float):
            assert isinstance(right, dict)
            return _kept({one: _apply(node.word, left, value) for one, value in right.items()})
        if isinstance(right, float):
            return _kept({one: _apply(node.word, value, right) for one, value in left.items()})
        others = {_match(one, node.labels): value for one, value in right.items()}
        pairs = {one: (value, others.get(_match(one, node.labels))) for one, value in left.items()}
        return _kept({one: _apply(node.word, a, b) for one, (a, b) in pairs.items() if b is not None})


def _fits(labels: Mapping[str, str], name: str, sign: str, text: str) -> bool:
    value = labels.get(name, "")
    found = bool(re.fullmatch(text, value)) if "~" in sign else value == text
    return found is not sign.startswith("!")


def _only(labels: Labels, names: Sequence[str]) -> Labels:
    return tuple((name, value) for name, value in labels if name in names)


def _match(labels: Labels, on: Sequence[str] | None) -> Labels:
    return labels if on is None else _only(labels, on)


def _kept(found: Mapping[Labels, float | None]) -> Vector:
    return {labels: value for labels, value in found.items() if value is not None}


def _apply(sign: str, left: float, right: float) -> float | None:
    """Return a number, or None where a comparison drops the series."""
    compare: dict[str, Callable[[float, float], bool]] = {
        "==": operator.eq,
        "!=": operator.ne,
        ">": operator.gt,
        "<": operator.lt,
        ">=": operator.ge,
        "<=": operator.le,
    }
    if sign in compare:
        return left if compare[sign](left, right) else None
    if sign in "/%" and right == 0:
        return None
    return {"+": left + right, "-": left - right, "*": left * right}.get(sign) if sign in "+-*" else left / right


def _over(word: str, points: Sequence[tuple[float, float]], range_s: float) -> float:
    values = [value for _, value in points]
    if word in _COUNTED:  # a counter that went down began anew
        rise = sum(b - a if b >= a else b for a, b in pairwise(values))
        return rise / range_s if word == "rate" else float(rise)
    if word == "delta":
        return values[-1] - values[0]
    return float({"avg": sum(values) / len(values), "min": min(values), "max": max(values)}[word[:3]])


def _quantiles(share: float, buckets: Vector) -> Vector:
    groups: dict[Labels, list[tuple[float, float]]] = {}
    for labels, value in buckets.items():
        bound = float(dict(labels)["le"].replace("+Inf", "inf"))
        groups.setdefault(tuple(one for one in labels if one[0] != "le"), []).append((bound, value))
    found = {}
    for labels, rows in groups.items():
        rows.sort()
        total, below, lower = rows[-1][1], 0.0, 0.0
        if not total:
            continue
        for bound, value in rows:
            if value >= share * total:
                inside = (share * total - below) / (value - below) if value > below else 0.0
                found[labels] = lower if bound == float("inf") else lower + (bound - lower) * inside
                break
            below, lower = value, bound
    return found

"""The pieces that the report's page is made of: everything that comes in as text is escaped here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, tzinfo

from paceline.charts import NARROW, WIDE
from paceline.markup import Markup, escaped, joined, web_address
from paceline.times import iso

Cell = Markup | str | int
"""What a table takes: markup stays as it is, anything else is escaped."""

text = escaped

_WORD = 24
"""Characters that fit a column on a telephone."""


def element(tag: str, *inside: Markup, **attributes: str) -> Markup:
    """Put markup into an element; `class_` is `class`, and `_` in a name is `-`."""
    given = "".join(f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{given}>{joined(inside)}</{tag}>")


def paragraph(words: str, class_: str = "") -> Markup:
    """Write a paragraph of text."""
    return element("p", text(words), **({"class_": class_} if class_ else {}))


def section(name: str, title: str, *inside: Markup) -> Markup:
    """Write a part of the page with its heading, named so that a screen reader can list it."""
    heading = element("h2", text(title), id=f"{name}-h")
    return element("section", heading, *inside, id=name, aria_labelledby=f"{name}-h")


def facts(rows: Iterable[tuple[str, Markup]], class_: str = "facts") -> Markup:
    """Write named facts; those of nothing are left out."""
    pairs = [one for name, value in rows if value for one in (element("dt", text(name)), element("dd", value))]
    return element("dl", *pairs, class_=class_)


def figures(rows: Iterable[tuple[str, str, str]]) -> Markup:
    """Write large numbers, each with its name and a remark below."""
    drawn = []
    for name, value, remark in rows:
        below = element("small", text(remark)) if remark else Markup("")
        drawn.append(element("div", element("dt", text(name)), element("dd", text(value), below)))
    return element("dl", *drawn, class_="totals")


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Iterable[int] = ()) -> Markup:
    """Write a table whose first column names its rows; `numbers` are the columns to be aligned to the right.

    Cells are text, or markup that has been made here.
    """
    right = set(numbers)

    def classed(at: int) -> dict[str, str]:
        return {"class_": "n"} if at in right else {}

    top = [element("th", text(name), scope="col", **classed(at)) for at, name in enumerate(head)]
    body = []
    for row in rows:
        first = element("th", cell(row[0]), scope="row")
        body.append(
            element("tr", first, *(element("td", cell(one), **classed(at)) for at, one in enumerate(row) if at))
        )
    inside = element("thead", element("tr", *top)), element("tbody", *body)
    return element("table", element("caption", text(caption)), *inside)


def cell(value: Cell) -> Markup:
    """Return a cell's markup: numbers with separators, text escaped, markup as it is."""
    if isinstance(value, Markup):
        return value
    return text(f"{value:,}" if isinstance(value, int) else value)


def code(words: str) -> Markup:
    """Write what stands in code: ids, paths, reasons."""
    return element("code", text(words))


def word(short: str) -> Markup:
    """Write a word that isn't to be broken where its column is narrow, unless it is no word at all."""
    return element("code", text(short), class_="word") if len(short) <= _WORD else code(short)


def link(words: str, address: str | None) -> Markup:
    """Lead to an address of the web; anything else is only written."""
    where = web_address(address)
    if where is None:
        return code(words)
    return element("a", code(words), href=where, rel="noopener noreferrer")


def moment(ms: int, zone: tzinfo | None) -> Markup:
    """Write a time as it is where the report is made, with its zone; programs read it in UTC."""
    return element("time", text(clock(ms, zone)), datetime=iso(ms))


def clock(ms: int, zone: tzinfo | None, *, form: str = "%Y-%m-%d %H:%M:%S %Z") -> str:
    """Write a time; `zone` None is the machine's."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).strftime(form)


def chart(draw: Callable[[str, int], Markup]) -> Markup:
    """Put a chart in twice, drawn for wide and for narrow windows; only one is shown. `draw` gets a suffix, a width."""
    wide = element("div", draw("wide", WIDE), class_="chart wide")
    return Markup(wide + element("div", draw("narrow", NARROW - 2), class_="chart narrow"))


def folded(title: str, *inside: Markup) -> Markup:
    """Write what is shown on demand."""
    return element("details", element("summary", text(title)), *inside)

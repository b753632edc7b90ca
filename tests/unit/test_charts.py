"""Charts are well-formed pictures that say what they show and obey nothing that is put into them."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from paceline.charts import Part, Row, Series, Tone, Words, bar_list, histogram, over_time, scale, stacked_bar
from paceline.markup import Markup, escaped, visible, web_address

EVIL = "<script>alert(1)</script>\"'&\x00\x1b[31m\u202etxt.exe\udcff]]>"
SVG = "{http://www.w3.org/2000/svg}"


def parse(drawn: str) -> ElementTree.Element:
    """Read a chart with a strict parser, after making sure that it can be written."""
    return ElementTree.fromstring(drawn.encode("utf-8"))  # noqa: S314  # our own


def words(text: str = "w") -> Words:
    """Name a chart, with a text in every place that takes one."""
    return Words("chart", text, text)


def _over_time(text: str) -> Markup:
    series = [Series(text, Tone.GOOD, [3, 0, 2]), Series(text, Tone.BAD, [1, 0, 0])]
    return over_time(words(text), series, [(0, text), (1, text)], allowed=[4, None, 4], allowed_label=text)


CHARTS: dict[str, Callable[[str], Markup]] = {
    "over_time": _over_time,
    "stacked_bar": lambda text: stacked_bar(words(text), [Part(text, 5, Tone.GOOD), Part(text, 1, Tone.HELD)]),
    "histogram": lambda text: histogram(words(text), [(text, 3), (text, 0)], marks=[(0.5, text), (1.9, text)]),
    "bar_list": lambda text: bar_list(words(text), [Row(text, 2, text), Row(text, 0, text, Tone.BAD)]),
}
EMPTY = [
    over_time(words(), [], []),
    over_time(words(), [Series("none", Tone.GOOD, [0, 0])], [], allowed=[None, None]),
    stacked_bar(words(), []),
    histogram(words(), []),
    histogram(words(), [("1 s", 0)]),
    bar_list(words(), []),
    bar_list(words(), [Row("nothing", 0, "0")]),
]


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
def test_a_text_is_shown_and_never_obeyed(draw: Callable[[str], Markup]) -> None:
    drawn = draw(EVIL)

    assert "<script" not in drawn
    tree = parse(drawn)
    assert {one.tag.removeprefix(SVG) for one in tree.iter()} <= {
        "svg", "title", "desc", "defs", "pattern", "path", "rect", "text",
    }  # fmt: skip
    assert not {name for one in tree.iter() for name in one.attrib if name.startswith("on") or name == "style"}
    assert tree.findtext(f"{SVG}title") == visible(EVIL)


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
def test_a_chart_is_one_picture_with_a_name_and_a_description(draw: Callable[[str], Markup]) -> None:
    tree = parse(draw("what it shows"))

    assert tree.get("role") == "img"
    named = [tree.find(f"*[@id='{name}']") for name in (tree.get("aria-labelledby") or "").split()]
    assert [one.text for one in named if one is not None] == ["what it shows"] * 2
    assert tree.get("viewBox")


@pytest.mark.parametrize("drawn", EMPTY)
def test_nothing_to_show_is_still_a_picture(drawn: Markup) -> None:
    assert parse(drawn).get("role") == "img"
    assert "nan" not in drawn.lower()


def test_bars_are_as_high_as_their_values_and_stand_on_each_other() -> None:
    series = [Series("ok", Tone.GOOD, [30, 10]), Series("failed", Tone.BUSY, [10, 0])]
    tree = parse(over_time(words(), series, [], allowed=[40, 40]))

    bars = [(float(one.attrib["y"]), float(one.attrib["height"])) for one in tree.findall(f"{SVG}rect")]
    (y, high), (above, less), (_, third) = bars[:3]
    assert high == pytest.approx(3 * less, abs=0.05) == pytest.approx(3 * third, abs=0.05)
    assert above + less == pytest.approx(y, abs=0.02)


def test_the_line_of_what_is_allowed_is_broken_where_it_is_not_known() -> None:
    tree = parse(over_time(words(), [Series("a", Tone.BUSY, [1, 1, 1])], [], allowed=[2, None, 2]))

    dashed = [one.attrib["d"] for one in tree.findall(f"{SVG}path") if one.get("stroke-dasharray")]
    assert dashed[0].count("M") == 2
    assert "allowed" in {one.text for one in tree.findall(f"{SVG}text")}


def test_a_small_part_is_not_invisible_and_parts_fill_the_whole() -> None:
    tree = parse(stacked_bar(words(), [Part("ok", 1_000_000, Tone.GOOD), Part("failed", 1, Tone.BAD)], width=300))

    wide = [float(one.attrib["width"]) for one in tree.findall(f"{SVG}rect")]
    assert wide[1] >= 1
    assert sum(wide) + len(wide) == pytest.approx(300, abs=1)


def test_what_matters_is_told_by_a_pattern_too() -> None:
    drawn = stacked_bar(words(), [Part("failed", 1, Tone.BAD), Part("held", 1, Tone.HELD)])

    assert [one.get("id") for one in parse(drawn).iter(f"{SVG}pattern")] == ["chart-bad", "chart-held"]
    assert 'fill="url(#chart-bad)"' in drawn


@pytest.mark.parametrize(
    ("most", "end", "step"),
    [(0, 1, 1), (1, 1, 0.5), (40, 40, 10), (41, 60, 20), (7, 8, 2), (999, 1000, 500), (0.3, 0.3, 0.1)],
)
def test_an_axis_ends_at_a_round_number(most: float, end: float, step: float) -> None:
    assert scale(most) == pytest.approx((end, step))


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "javascript://host/%0aalert(1)",
        "ftp://host/x",
        "data:text/html,x",
        "//host/x",
        "http://",
        "https://a b",
        "https://a/\u202e",
        "",
        None,
    ],
)
def test_only_addresses_of_the_web_become_links(text: str | None) -> None:
    assert web_address(text) is None


def test_an_address_of_the_web_stays_as_it_is() -> None:
    assert web_address("https://app.example/runs/1?a=b&c") == "https://app.example/runs/1?a=b&c"


def test_text_in_an_attribute_cannot_leave_it() -> None:
    assert escaped("\" onload='x' \udcff\u202e") == "&quot; onload=&#x27;x&#x27; \\udcff\\u202e"

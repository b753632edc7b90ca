"""How costs grow is told by a slope that can't hide a steep end, and drawn in a picture that stands alone."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as bench
from benchmarks.growth import growing, measure_growth, number, shape, tabled
from benchmarks.loglog import LINE, Curve, picture, slope
from benchmarks.results import Section, read_sections, write_results
from benchmarks.size import Size
from benchmarks.table import EXPLAINED, MET, MISSED, Table, as_markdown

SCALES = (1, 10, 100)
SVG = "{http://www.w3.org/2000/svg}"


def table(notes: dict[str, str] | None = None, **costs: Sequence[float]) -> Table:
    """Tabulate costs at the three scales."""
    return tabled("engine", "100 submissions", SCALES, costs, notes or {})


def drawn(*curves: Curve) -> ElementTree.Element:
    """Draw curves, and read the picture with a strict parser."""
    return ElementTree.fromstring(picture("engine", "100 submissions", SCALES, curves))  # noqa: S314  # our own


@pytest.mark.parametrize(
    ("values", "expected"),
    [((2, 20, 200), 1.0), ((5, 5, 5), 0.0), ((1, 100, 10_000), 2.0), ((300, 30, 3), -1.0), ((1, 10**0.5, 10), 0.5)],
)
def test_the_slope_is_the_power_with_which_a_cost_grows(values: Sequence[float], expected: float) -> None:
    assert slope(SCALES, values) == pytest.approx(expected)


def test_the_slope_is_fitted_through_all_amounts_of_work() -> None:
    assert slope(SCALES, (1, 100, 100)) == pytest.approx(1.0)


@pytest.mark.parametrize(("scales", "values"), [(SCALES, (0, 1, 2)), (SCALES, (1, -1, 2)), ((1,), (3,))])
def test_what_has_no_logarithm_has_no_slope(scales: Sequence[float], values: Sequence[float]) -> None:
    assert math.isnan(slope(scales, values))


def test_a_steep_end_is_missed_though_the_fit_is_not_steep() -> None:
    """A start that costs much hides behind it, in the fit, what grows with the square."""
    found = table(seconds=(10, 11, 200))

    assert slope(SCALES, (10, 11, 200)) < 1.1
    assert found.lines[0].verdict == MISSED
    assert found.missed == 1


def test_only_an_explanation_of_that_very_cost_excuses_it() -> None:
    steep = (1, 100, 10_000)

    found = table({"seconds": "every file is compared with every other"}, seconds=steep, bytes=steep)

    assert [line.verdict for line in found.lines] == [EXPLAINED, "", MISSED]
    assert "every file is compared" in found.lines[1].what


def test_what_needs_no_explanation_has_none() -> None:
    found = table({"seconds": "every file is compared with every other"}, seconds=(1, 10, 100))

    assert [line.verdict for line in found.lines] == [MET]


def test_a_cost_of_nothing_is_a_figure_without_a_curve() -> None:
    found = table(refused=(0, 0, 0))

    assert (found.lines[0].value, found.lines[0].verdict, found.picture) == ("no slope", "", None)


def test_slopes_have_names() -> None:
    assert [shape(one) for one in (-0.5, 0.0, 0.1, 0.5, 0.95, 1.1, 1.2)] == [
        "falls", "constant", "constant", "less than linear", "linear", "linear", "worse than linear",
    ]  # fmt: skip
    assert table(seconds=(2, 20, 200)).lines[0].verdict == MET


def test_a_slope_of_nothing_has_no_sign() -> None:
    assert table(MB=(34.5, 34.5, 34.4)).lines[0].value == "0.00, 0.00: constant"


def test_costs_are_written_with_three_digits_that_count() -> None:
    assert [number(one) for one in (0, 0.01234, 1.0, 12.345, 123.4, 12_345.6)] == [
        "0", "0.0123", "1.00", "12.3", "123", "12,346",
    ]  # fmt: skip


def test_a_picture_is_whole_and_says_all_figures_in_words() -> None:
    tree = drawn(Curve("seconds <&>", "1 → 100", (1, 10, 100)), Curve("MB", "60 → 61", (60, 61, 61)))

    texts = [text.text or "" for text in tree.iter(f"{SVG}text")]
    assert "seconds <&>: 1 → 100" in texts
    assert tree.findtext(f"{SVG}desc") == "seconds <&>: 1 → 100; MB: 60 → 61"
    assert any("work (1 × = 100 submissions)" in text for text in texts)
    assert "prefers-color-scheme:dark" in (tree.findtext(f"{SVG}style") or "")


def test_every_curve_has_a_line_a_mark_for_each_value_and_a_look_of_its_own() -> None:
    tree = drawn(*(Curve(f"cost {at}", "", (1, 10 + at, 100)) for at in range(12)))

    lines = [one for one in tree.iter(f"{SVG}path") if re.fullmatch(r"c\d", one.get("class", ""))]
    marks = [one for one in tree.iter(f"{SVG}path") if re.fullmatch(r"m\d", one.get("class", ""))]
    assert len({(one.get("class"), one.get("stroke-dasharray")) for one in lines}) == 12
    assert len(marks) == 12 * (3 + 1)


def test_labels_of_curves_that_meet_stand_apart_and_inside() -> None:
    tree = drawn(*(Curve(f"kind {at}", "", (1, 1, 1)) for at in range(24)))

    labels = [float(one.get("y", "")) for one in tree.iter(f"{SVG}text") if (one.text or "").startswith("kind ")]
    apart = [below - above for above, below in itertools.pairwise(labels)]
    assert len(labels) == 24
    assert min(apart) >= LINE - 0.11
    assert max(labels) < float(tree.get("height", "")) - 20
    assert min(labels) > 24


def test_no_text_leaves_the_picture() -> None:
    curve = Curve("seconds " * 20, "1.00 → 9.00", (1, 3, 9))
    tree = ElementTree.fromstring(picture("engine", "a hundred submissions of " * 9, SCALES, [curve]))  # noqa: S314

    for text in tree.iter(f"{SVG}text"):
        if text.get("x"):
            wide, x = 7.2 * len(text.text or ""), float(text.get("x", ""))
            left = x - wide * {"start": 0, "middle": 0.5, "end": 1, None: 0}[text.get("text-anchor")]
            assert left >= 0
            assert left + wide <= float(tree.get("width", ""))


def test_a_long_name_is_cut_and_its_figures_are_not() -> None:
    assert Curve("x" * 90, "1.00 → 9.00", (1, 3, 9)).label(30) == "x" * 16 + "…: 1.00 → 9.00"


class Module:
    """A part that costs as much as it does."""

    GROWS = "a thing"

    @staticmethod
    def grow(scale: int) -> dict[str, float]:
        """Cost `scale` seconds."""
        return {"seconds": float(scale)}


def test_a_part_is_measured_at_each_scale_of_the_size() -> None:
    [quick] = measure_growth("thing", Module(), Size.QUICK)
    [normal] = measure_growth("thing", Module(), Size.NORMAL)

    assert quick.lines[0].what == "seconds: 1.00 · 10.0"
    assert normal.lines[0].what == "seconds: 1.00 · 10.0 · 100"
    assert normal.setup.startswith("1 × is a thing")


def test_results_show_the_picture_that_is_kept_beside_them(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    write_results(
        results, Section("growth-engine", "make bench", "here", [table(seconds=(1, 10, 100))]), ["growth-engine"]
    )

    [file] = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", read_sections(results.read_text())["growth-engine"])
    assert ElementTree.fromstring((tmp_path / file).read_text()).tag == f"{SVG}svg"  # noqa: S314  # our own


def test_a_table_without_a_picture_shows_none() -> None:
    assert "![" not in as_markdown(Table("pace", "as it was"))


def test_growth_means_every_part_that_can_grow() -> None:
    assert set(growing(bench.PARTS)) >= {"growth-engine", "growth-planning"}
    assert bench.named(["growth", "pace", "growth-engine"]) == [*growing(bench.PARTS), "pace"]
    assert bench.named([]) == [*bench.PARTS, *growing(bench.PARTS)]

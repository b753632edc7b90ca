"""The dashboard and the alert rules name what there is, and each alert fires on the scrape that it is meant for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from docs.check import cli_options, unknown_commands, unknown_variables
from monitor.catalog import by_series
from tests.support import plain_yaml
from tests.support.monitoring import (
    ROOT,
    dashboard,
    label_query_problems,
    panel_expressions,
    problems,
    rules,
)
from tests.support.promql import Evaluator, Labels, Scrapes, Series, parse

RULES = rules()
Scene = dict[str, float | tuple[float, ...]]
TIMES = [at * 60.0 for at in range(0, 91, 5)]

WELL: Scene = {
    "paceline_up{}": 1,
    "paceline_workers{}": 3,
    "paceline_queue_workers{queue=control}": 2,
    "paceline_queue_messages{queue=control}": 4,
    "paceline_submissions{account=a,state=running}": 60,
    "paceline_submissions{account=a,state=held}": 0,
    "paceline_waiting_submissions{account=a,class=add}": 500,
    "paceline_batch_idle_seconds{account=a,batch=b1,waits_for=provider}": 3,
    "paceline_batch_idle_seconds{account=a,batch=b2,waits_for=turn}": 7000,
    "paceline_batch_idle_seconds{account=a,batch=b3,waits_for=person}": 9000,
    "paceline_uncertain_oldest_seconds{account=a}": 400,
    "paceline_duplicate_runs_total{account=a}": 1,
    "paceline_permits_used{account=a,class=add}": 40,
    "paceline_permits_allowed{account=a,class=add}": 40,
    "paceline_requests_refused_total{account=a,class=add}": 2,
    "paceline_account_paused{account=z,reason=by_person}": 1,
    "paceline_batches_paused{account=a,reason=by_person}": 1,
    "paceline_circuit_open{account=a}": 0,
    "paceline_beats{}": 1,
    "paceline_schedule_paused{schedule=nightly}": 0,
    "paceline_schedule_overdue_nights{schedule=nightly}": 0,
    "paceline_schedule_last_night{schedule=nightly,state=started}": 1,
    "paceline_schedule_last_night{schedule=nightly,state=failed}": 0,
    "paceline_outcomes_total{account=a,outcome=succeeded}": tuple(40 * at for at in TIMES),
    "paceline_outcomes_total{account=a,outcome=failed}": tuple(2 * at for at in TIMES),
    "paceline_export_delay_seconds_bucket{account=a,le=5.0}": tuple(39 * at for at in TIMES),
    "paceline_export_delay_seconds_bucket{account=a,le=1200.0}": tuple(40 * at for at in TIMES),
    "paceline_export_delay_seconds_bucket{account=a,le=+Inf}": tuple(40 * at for at in TIMES),
}
"""A fleet at full pace, with what is no trouble: a batch behind another one, one that waits for a person, a pause."""

FIRST, LAST = TIMES[0], TIMES[-1]


def later(before: float, after: float) -> tuple[float, ...]:
    """Return a series that changes once, ten minutes before the last scrape."""
    return tuple(after if at > LAST - 600 else before for at in TIMES)


SCENES: dict[str, Scene] = {
    "PacelineMetricsDown": {"paceline_up{}": 0},
    "PacelineNoWorkers": {"paceline_workers{}": 0},
    "PacelineQueueUnread": {"paceline_queue_workers{queue=control}": 0},
    "PacelineStalled": {"paceline_batch_idle_seconds{account=a,batch=b1,waits_for=provider}": 1900},
    "PacelineBatchStalled": {"paceline_batch_idle_seconds{account=a,batch=b4,waits_for=paceline}": 3700},
    "PacelineRunsStandStill": {"paceline_batch_idle_seconds{account=a,batch=b4,waits_for=provider}": 7300},
    "PacelineListingStopped": {"paceline_batch_idle_seconds{account=a,batch=b4,waits_for=listing}": 3700},
    "PacelineHeld": {"paceline_submissions{account=a,state=held}": 1},
    "PacelineUncertainTooLong": {"paceline_uncertain_oldest_seconds{account=a}": 7300},
    "PacelineDuplicateRun": {"paceline_duplicate_runs_total{account=a}": later(1, 2)},
    "PacelinePaceLost": {"paceline_permits_used{account=a,class=add}": 25},
    "PacelineRefused": {"paceline_requests_refused_total{account=a,class=add}": later(2, 3)},
    "PacelineAccountPaused": {"paceline_account_paused{account=y,reason=no_credit}": 1},
    "PacelineBatchPaused": {"paceline_batches_paused{account=a,reason=too_many_failures}": 1},
    "PacelineProviderDown": {"paceline_circuit_open{account=z}": 1},
    "PacelineFailures": {"paceline_outcomes_total{account=a,outcome=failed}": tuple(20 * at for at in TIMES)},
    "PacelineExportsLate": {
        "paceline_export_delay_seconds_bucket{account=a,le=5.0}": tuple(10 * at for at in TIMES),
    },
    "PacelineDeadlineMissed": {"paceline_schedule_overdue_nights{schedule=nightly}": 1},
    "PacelineNightNotStarted": {"paceline_schedule_last_night{schedule=nightly,state=failed}": 1},
    "PacelineNoBeat": {"paceline_beats{}": 0},
}
"""For each alert, how the fleet differs from `WELL` when it is to fire."""


def series(text: str) -> Series:
    """Read `name{label=value,…}`; the labels must be those of the catalog."""
    name, _, inside = text.partition("{")
    pairs = dict(pair.split("=") for pair in inside.rstrip("}").split(",") if pair)
    own = {*by_series()[name].labels, *({"le"} if name.endswith("_bucket") else ())}
    assert set(pairs) == own, text
    return name, tuple(sorted(pairs.items()))


def evaluator(scene: Scene, *, without: str = "") -> Evaluator:
    """Return what evaluates expressions at the end of an hour and a half like this."""
    rows = {series(text): value for text, value in scene.items() if text != without}
    return Evaluator(
        [
            (at, {key: float(value[index] if isinstance(value, tuple) else value) for key, value in rows.items()})
            for index, at in enumerate(TIMES)
        ]
    )


def firing(scene: Scene) -> dict[str, dict[Labels, float]]:
    evaluate = evaluator(scene)
    return {name: found for name, rule in RULES.items() if (found := evaluate(rule["expr"]))}


@pytest.mark.parametrize("name", RULES)
def test_an_alert_asks_for_what_there_is(name: str) -> None:
    assert problems(RULES[name]["expr"]) == []


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_to_do_with_commands_that_exist(name: str) -> None:
    notes = RULES[name]["annotations"]
    assert set(notes) == {"summary", "description", "remedy"}
    assert re.search(r"`paceline [a-z]+", notes["remedy"])
    pages = {name: "\n".join(notes.values()).replace("{{", "").replace("}}", "")}
    assert [*unknown_commands(pages, cli_options()), *unknown_variables(pages)] == []
    assert RULES[name]["labels"]["severity"] in ("warning", "critical")


@pytest.mark.parametrize("name", RULES)
def test_an_alert_quotes_labels_that_its_series_have(name: str) -> None:
    evaluate = evaluator({**WELL, **SCENES[name]})
    given = {label for labels in evaluate(RULES[name]["expr"]) for label, _ in labels}
    quoted = set(re.findall(r"\$labels\.(\w+)", str(RULES[name]["annotations"])))
    assert quoted <= given


def test_nothing_fires_while_all_is_well() -> None:
    assert firing(WELL) == {}


@pytest.mark.parametrize("name", SCENES)
def test_an_alert_fires_when_it_is_meant_to_and_alone(name: str) -> None:
    assert set(firing({**WELL, **SCENES[name]})) == {name}


def test_every_alert_has_a_scene() -> None:
    assert set(SCENES) == set(RULES)


def test_metrics_that_are_gone_altogether_are_noticed() -> None:
    assert evaluator(WELL, without="paceline_up{}")(RULES["PacelineMetricsDown"]["expr"])


@pytest.mark.parametrize(
    "quiet",
    [
        {"paceline_beats{}": 0, "paceline_schedule_paused{schedule=nightly}": 1},
        {"paceline_permits_used{account=a,class=add}": 25,
         "paceline_waiting_submissions{account=a,class=add}": later(500, 0)},
        {"paceline_permits_used{account=a,class=wait}": 0, "paceline_permits_allowed{account=a,class=wait}": 10},
        {"paceline_workers{}": 0, "paceline_waiting_submissions{account=a,class=add}": 0,
         "paceline_submissions{account=a,state=running}": 0},
        {"paceline_batch_idle_seconds{account=a,batch=b1,waits_for=provider}": 1900,
         "paceline_waiting_submissions{account=a,class=add}": 0},
        {"paceline_requests_refused_total{account=a,class=add}": tuple(2 if at < LAST - 2000 else 3 for at in TIMES)},
    ],
    ids=[
        "no schedule but a paused one",
        "the end of a batch",
        "another class",
        "nothing to do",
        "long runs at the end",
        "a 429 long ago",
    ],
)  # fmt: skip
def test_what_is_no_trouble_fires_nothing(quiet: Scene) -> None:
    assert firing({**WELL, **quiet}) == {}


@pytest.mark.parametrize(("title", "expression"), list(panel_expressions()))
def test_a_panel_asks_for_what_there_is(title: str, expression: str) -> None:
    assert problems(expression) == []


def test_the_dashboard_can_be_imported() -> None:
    board = dashboard()
    assert board["uid"] == "paceline"
    assert board["id"] is None
    assert board["schemaVersion"] >= 36
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert label_query_problems(variables["account"]["query"]["query"]) == []
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        sources = [panel.get("datasource"), *(target["datasource"] for target in panel.get("targets", ()))]
        assert panel["type"] == "row" or all(one["uid"] == "${datasource}" for one in sources), panel["title"]
        assert panel["type"] == "row" or panel["description"]


def test_no_panel_lies_on_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place: Mapping[str, int] = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_every_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    asked = [expression for _, expression in panel_expressions()] + [rule["expr"] for rule in RULES.values()]
    named = {by_series()[selector.word].name for text in asked for selector, _ in parse(text).selectors()}
    seldom = {"paceline_files", "paceline_permit_limit", "paceline_permit_window_seconds"}
    assert {metric.name for metric in by_series().values()} == named | seldom


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("paceline_upp == 0", "no metric paceline_upp"),
        ("paceline_submissions{status=\"held\"}", "paceline_submissions has no label status"),
        ("paceline_submissions{state=\"hold\"}", "state is never hold"),
        ("sum by (provider) (paceline_submissions)", "nothing in it has a label provider"),
        ("paceline_submissions > 0 and on (agent) paceline_circuit_open", "nothing in it has a label agent"),
        ("rate(paceline_submissions[5m])", "rate() of paceline_submissions, which is no counter"),
        ("paceline_credits_total > 5", "paceline_credits_total only ever grows: rate() or increase() of it"),
        ("rate(paceline_up)", "a range of paceline_up where none belongs, or none where one does"),
        (
            "histogram_quantile(0.5, sum by (le) (rate(paceline_run_duration_seconds_sum[5m])))",
            "histogram_quantile() of paceline_run_duration_seconds_sum, which has no buckets",
        ),
        (
            "histogram_quantile(0.5, sum by (account) (rate(paceline_run_duration_seconds_bucket[5m])))",
            "histogram_quantile() of what isn't grouped by le",
        ),
    ],
)  # fmt: skip
def test_an_expression_that_asks_for_what_there_is_not_is_found(expression: str, complaint: str) -> None:
    assert complaint in problems(expression)


@pytest.mark.parametrize("text", ["sum(", "rate(x[5m]))", "a b", "topk(3, x)", "x[5]", "{"])
def test_an_expression_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"in |at |duration"):
        parse(text)


def test_expressions_are_evaluated_as_prometheus_does() -> None:
    scrapes: Scrapes = [
        (0.0, {("c", (("k", "1"),)): 5.0, ("g", (("k", "1"),)): 1.0}),
        (60.0, {("c", (("k", "1"),)): 9.0, ("g", (("k", "1"),)): 3.0}),
        (120.0, {("c", (("k", "1"),)): 2.0, ("g", (("k", "1"),)): 2.0, ("g", (("k", "2"),)): 7.0}),
    ]
    value: Any = Evaluator(scrapes)
    one: Labels = (("k", "1"),)
    assert value("increase(c[5m])") == {one: 6.0}  # 4, and 2 after it began anew
    assert value('max_over_time(g{k="1"}[2m])') == {one: 3.0}
    assert value('delta(g{k="1"}[1m])') == {one: -1.0}
    assert value("sum(g) * 2 + 1 > 18") == {(): 19.0}
    assert value('g > 5 or g{k="1"}') == {(("k", "2"),): 7.0, one: 2.0}
    assert value("g unless on (k) c") == {(("k", "2"),): 7.0}
    assert value("max by (k) (g) / on (k) c") == {one: 1.0}
    assert value("absent(nothing)") == {(): 1.0}
    assert value('g{k!~"1|3"}') == {(("k", "2"),): 7.0}


def test_a_quantile_lies_within_its_bucket() -> None:
    buckets: dict[Series, float] = {
        ("h_bucket", (("le", bound),)): count for bound, count in (("1.0", 5.0), ("2.0", 9.0), ("+Inf", 10.0))
    }
    value = Evaluator([(0.0, buckets)])
    assert value("histogram_quantile(0.7, h_bucket)") == {(): 1.5}
    assert value("histogram_quantile(1, h_bucket)") == {(): 2.0}


def test_the_scrape_example_asks_for_the_page_with_a_login() -> None:
    document = plain_yaml.read((ROOT / "deploy/prometheus/prometheus.yaml").read_text("utf-8"))
    (job,) = document["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:5555"]}]
    assert set(job["basic_auth"]) == {"username", "password_file"}
    assert document["rule_files"] == ["alerts.yaml"]


@pytest.mark.parametrize("text", ["a: b", "a: 'b'\na: 'c'", "a:\n", "a: 'b'\n    c: 'd'", "- x", "a: 'b' # c"])
def test_yaml_beyond_our_own_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="line"):
        plain_yaml.read(text)

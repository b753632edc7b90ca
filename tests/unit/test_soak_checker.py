"""The soak's checker finds what it is there for: each test falsifies the evidence of a flawless batch in one place."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import pytest

from tests.soak.checker import Ending, Evidence, busiest, check
from tests.soak.plan import Mode, draw

BATCH = "b123456789"

Falsify = Callable[[dict[str, Any]], object]


def name_of(number: int) -> str:
    return f"{BATCH}-{number:06d}"


def flawless() -> dict[str, Any]:
    """Give the evidence of three submissions of two files, the second one failed, the third sent twice."""
    evidence: dict[str, Any] = {"batch": BATCH, "limit": 2, "window_s": 4.0, "endings": [Ending("run", 1, True)]}
    lists = ("requests", "runs", "manifest", "journal", "results", "files", "failures")
    evidence |= {name: [] for name in lists} | {"digests": {}}
    for number in (1, 2, 3):
        _submission(evidence, number)
    evidence["failures"] = [row for row in evidence["results"] if row["outcome"] == "failed"]
    return evidence


def _submission(evidence: dict[str, Any], number: int) -> None:
    submission, outcome = name_of(number), "failed" if number == 2 else "succeeded"
    paths = [f"{number}/a.txt", f"{number}/b.txt"]
    digests = {path: f"digest of {path}" for path in paths}
    evidence["digests"] |= digests
    for path in paths:
        evidence["manifest"].append({"path": path, "submission": submission, "name": path[2:]})
        evidence["files"].append(
            {"path": path, "submission": submission, "outcome": outcome, "sha256": digests[path], "reason": "x"}
        )
    sent = [{"name": path[2:], "sha256": digests[path]} for path in paths]
    steps = ["plan:planned", "begin:submitting", "accepted:running", "finish:finished", "exported:exported"]
    if number == 3:
        steps[2:2] = ["uncertain:uncertain", "absent:planned", "begin:submitting"]
        _post(evidence, number, sent[:1], None)
    _post(evidence, number, sent, 500 + number)
    state = ""
    for generation, step in enumerate(steps, 1):
        verb, _, target = step.partition(":")
        row = {"submission": submission, "verb": verb, "from": state, "to": target, "generation": str(generation)}
        evidence["journal"].append(row)
        state = target
    evidence["runs"].append(
        {
            "run_id": 500 + number,
            "user_defined_id": f"{BATCH}.{submission}",
            "status": "failed" if number == 2 else "success",
        }
    )
    evidence["results"].append(
        {
            "submission": submission,
            "external_id": f"{BATCH}.{submission}",
            "run_id": str(500 + number),
            "outcome": outcome,
            "files": paths,
            "data": {"Inventory": {"value": [{"sha256": digests[path]} for path in paths]}},
        }
    )


def _post(evidence: dict[str, Any], number: int, files: list[dict[str, str]], run_id: int | None) -> None:
    seq = len(evidence["requests"]) + 1
    evidence["requests"].append(
        {
            "seq": seq,
            "t": 100.0 + 2 * seq,
            "class": "add",
            "method": "POST",
            "external_id": f"{BATCH}.{name_of(number)}",
            "run_id": run_id,
            "files": files,
        }
    )


def a_duplicate_run(evidence: dict[str, Any]) -> None:
    evidence["requests"].append({**evidence["requests"][0], "run_id": 600, "t": 200.0})
    evidence["runs"].append({**evidence["runs"][0], "run_id": 600})
    begin = {"submission": name_of(1), "verb": "duplicate", "from": "exported", "to": "exported", "generation": "5"}
    evidence["journal"].append(begin)


def a_duplicate_behind_a_lost_answer(evidence: dict[str, Any]) -> None:
    evidence["requests"][2]["run_id"] = 600  # the attempt whose absence was "proven"
    evidence["requests"][2]["files"] = evidence["requests"][3]["files"]
    evidence["runs"].append({**evidence["runs"][2], "run_id": 600})


def a_run_in_the_log_alone(evidence: dict[str, Any]) -> None:
    del evidence["runs"][0]


def a_missing_record(evidence: dict[str, Any]) -> None:
    del evidence["results"][0]


def a_record_twice(evidence: dict[str, Any]) -> None:
    evidence["results"].append(evidence["results"][0])


def a_submission_that_was_never_sent(evidence: dict[str, Any]) -> None:
    del evidence["requests"][0], evidence["runs"][0]


def a_held_submission(evidence: dict[str, Any]) -> None:
    del evidence["results"][0]
    del evidence["journal"][1:5]
    evidence["journal"].append(
        {"submission": name_of(1), "verb": "hold", "from": "planned", "to": "held", "generation": "2"}
    )


def a_missing_file_record(evidence: dict[str, Any]) -> None:
    del evidence["files"][3]


def a_file_nobody_planned(evidence: dict[str, Any]) -> None:
    evidence["files"].append({**evidence["files"][0], "path": "else.txt"})


def a_file_left_out_of_the_manifest(evidence: dict[str, Any]) -> None:
    evidence["digests"]["new.txt"] = "digest"


def a_file_of_another_outcome(evidence: dict[str, Any]) -> None:
    evidence["files"][2]["outcome"] = "succeeded"


def a_window_overrun(evidence: dict[str, Any]) -> None:
    evidence["requests"][2]["t"] = 105.9
    evidence["requests"][1]["t"] = 104.0
    evidence["requests"][0]["t"] = 102.0


def a_wrong_outcome(evidence: dict[str, Any]) -> None:
    evidence["runs"][0]["status"] = "failed"


def an_outcome_before_its_time(evidence: dict[str, Any]) -> None:
    evidence["runs"][0]["status"] = "running"


def the_run_of_another(evidence: dict[str, Any]) -> None:
    evidence["results"][0]["run_id"] = "503"


def results_of_other_files(evidence: dict[str, Any]) -> None:
    evidence["results"][0]["data"]["Inventory"]["value"][0]["sha256"] = "other"


def a_changed_payload(evidence: dict[str, Any]) -> None:
    evidence["requests"][3]["files"][0]["sha256"] = "other"


def half_a_payload_accepted(evidence: dict[str, Any]) -> None:
    del evidence["requests"][3]["files"][1]


def a_skipped_generation(evidence: dict[str, Any]) -> None:
    evidence["journal"][4]["generation"] = "6"


def a_transition_that_is_not_in_the_table(evidence: dict[str, Any]) -> None:
    del evidence["journal"][2]
    for row in evidence["journal"][2:4]:
        row["generation"] = str(int(row["generation"]) - 1)
    evidence["journal"][2]["from"] = "submitting"


def a_terminal_state_left(evidence: dict[str, Any]) -> None:
    row = {"submission": name_of(1), "verb": "begin", "from": "exported", "to": "submitting", "generation": "6"}
    evidence["journal"].append(row)


def a_request_without_intent(evidence: dict[str, Any]) -> None:
    evidence["requests"].append({**evidence["requests"][2], "t": 300.0})


def success_too_early(evidence: dict[str, Any]) -> None:
    evidence["endings"].insert(0, Ending("run", 1, False))


def the_wrong_exit_code(evidence: dict[str, Any]) -> None:
    evidence["endings"] = [Ending("run", 0, True)]


def an_odd_exit_code(evidence: dict[str, Any]) -> None:
    evidence["endings"].insert(0, Ending("up", 2, False))


FALSIFIED: dict[Falsify, str] = {
    a_duplicate_run: "I1",
    a_duplicate_behind_a_lost_answer: "I1",
    a_run_in_the_log_alone: "I1",
    a_missing_record: "lost",
    a_record_twice: "I5",
    a_submission_that_was_never_sent: "I1",
    a_held_submission: "held",
    a_missing_file_record: "I2",
    a_file_nobody_planned: "I2",
    a_file_left_out_of_the_manifest: "I2",
    a_file_of_another_outcome: "I2",
    a_window_overrun: "I3",
    a_wrong_outcome: "I6",
    an_outcome_before_its_time: "I6",
    the_run_of_another: "I6",
    results_of_other_files: "I6",
    a_changed_payload: "I12",
    half_a_payload_accepted: "I12",
    a_skipped_generation: "I7",
    a_transition_that_is_not_in_the_table: "I7",
    a_terminal_state_left: "I7",
    a_request_without_intent: "I11",
    success_too_early: "I15",
    the_wrong_exit_code: "I15",
    an_odd_exit_code: "I15",
}


def test_a_flawless_batch_is_found_flawless() -> None:
    verdict = check(Evidence(**flawless()))

    assert verdict.problems == []
    assert asdict(verdict.totals) == {
        "planned": 3,
        "accepted": 3,
        "unique": 3,
        "duplicates": 0,
        "lost": 0,
        "held": 0,
        "exported": 3,
        "max_window": 2,
    }


@pytest.mark.parametrize("falsify", FALSIFIED, ids=lambda falsify: falsify.__name__)
def test_each_falsification_is_found(falsify: Falsify) -> None:
    evidence = deepcopy(flawless())
    falsify(evidence)

    problems = check(Evidence(**evidence)).problems

    assert [problem for problem in problems if problem.startswith(FALSIFIED[falsify])], problems


@pytest.mark.parametrize(
    ("falsify", "total", "value"),
    [
        (a_duplicate_run, "duplicates", 1),
        (a_missing_record, "lost", 2),  # the submission without record, and its run
        (a_held_submission, "held", 1),
        (a_window_overrun, "max_window", 3),
    ],
)
def test_the_totals_show_what_is_amiss(falsify: Falsify, total: str, value: int) -> None:
    evidence = flawless()
    falsify(evidence)

    assert asdict(check(Evidence(**evidence)).totals)[total] == value


def test_a_window_is_half_open() -> None:
    assert busiest([0.0, 1.0, 4.0], 4.0) == 2
    assert busiest([0.0, 1.0, 3.999], 4.0) == 3
    assert busiest([], 4.0) == 0


def test_the_same_seed_draws_the_same_plan() -> None:
    plans = [draw(seed, 2, submissions=9, kills=20) for seed in (7, 7, 8)]

    assert plans[0] == plans[1]
    assert plans[0].kills != plans[2].kills
    assert [draw(7, number, submissions=1, kills=1).mode for number in (1, 2, 3, 4)] == [*Mode, Mode.RUN]

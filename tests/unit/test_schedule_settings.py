"""`[schedules.NAME]`: what is read, what is refused, and what a night is made from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.asked import Asked
from cli.carrying import asked_of, target_of
from cli.nights import problem_of
from config.celeryconfig import celery_settings
from config.pinning import check_schedule, pin
from config.schedules import Schedule
from config.settings import Settings, load_settings
from paceline.errors import ConfigError
from paceline.model import SCHEDULE, BatchSpec

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DUE = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
TABLE = """\
[schedules.nightly]
cron = "0 2 * * *"
zone = "Europe/Berlin"
source = "inbox"
agent = "kolena:42"
to = "out/{date}"
"""


def load(folder: Path, text: str = TABLE, **environ: str) -> Settings:
    (folder / "paceline.toml").write_text(text, "utf-8")
    return load_settings({"KOLENA_API_KEY": "k", **environ}, folder)


def nightly(folder: Path, text: str = TABLE) -> tuple[Settings, Schedule]:
    settings = load(folder, text)
    return settings, settings.schedules["nightly"]


def test_a_schedule_is_read_from_the_file_and_from_variables(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        TABLE,
        PACELINE_SCHEDULES__NIGHTLY__CRON="0 3 * * *",
        PACELINE_SCHEDULES__NIGHTLY__TELL='["notify", "--team"]',
        PACELINE_SCHEDULES__NIGHTLY__INPUTS__REGION="eu",
        PACELINE_SCHEDULES__NIGHTLY__MAX_FAILURES="5%",
    )
    found = settings.schedules["nightly"]
    assert (found.cron, found.zone, found.source) == ("0 3 * * *", "Europe/Berlin", ("inbox",))
    assert (found.tell, dict(found.inputs), found.max_failures) == (("notify", "--team"), {"region": "eu"}, "5%")
    assert (found.catch_up, found.overlap, found.tell_success) == ("latest", "skip", False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0 2 * * *", "0 0 30 2 *", "schedules.nightly.cron (paceline.toml) is '0 0 30 2 *': no cron expression"),
        ("Europe/Berlin", "Mars", "schedules.nightly.zone (paceline.toml) is 'Mars': no time zone; write an IANA name"),
        ("{date}", "{dat}", "no placeholder {dat}; did you mean {date}?"),
        ('"inbox"', '"-"', "neither stdin nor a saved plan"),
        ('"inbox"', '"x.plan"', "neither stdin nor a saved plan"),
        ('"inbox"', "[]", "it names nothing"),
        ("kolena:42", "42", "write ACCOUNT:ID"),
        ("cron =", "kron =", "no such setting; did you mean schedules.nightly.cron?"),
        (
            'source = "inbox"\n',
            "",
            "schedule nightly (paceline.toml) has no source; set schedules.nightly.source, e.g. to 'inbox'",
        ),
        ("zone =", 'overlap = "both"\nzone =', "it must be 'skip' or 'queue'"),
        ("zone =", 'catch_up = "some"\nzone =', "it must be 'latest', 'all' or 'none'"),
        ("zone =", 'deadline = "six"\nzone =', "no deadline; write a time of the clock"),
        ("zone =", 'tell = "https://u:p@h/"\nzone =', "without user"),
        (
            "zone =",
            'tell = "hooks.example.org/x"\nzone =',
            "write an address, https://HOST/…, or a command as a list of words",
        ),
        (
            "zone =",
            'tell = "notify --team data"\nzone =',
            "write an address, https://HOST/…, or a command as a list of",
        ),
        ("zone =", "checksum = true\nzone =", "it says how skip_unchanged compares"),
        ("zone =", "inputs = 3\nzone =", "is a table; set a name in it, such as schedules.nightly.inputs.region"),
        ("schedules.nightly", "schedules.Nightly", "no schedule name"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, TABLE.replace(old, new))
    assert said in str(caught.value)


def test_the_address_of_who_is_told_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, TABLE + 'tell = ["https://hooks.example.org/T0/canary", "x"]\n')
    assert "canary" not in str(caught.value)


def test_a_night_is_made_from_what_stood_there_when_it_was_noted(tmp_path: Path) -> None:
    settings, schedule = nightly(tmp_path, TABLE + 'deadline = "06:00"\nskip_unchanged = true\nmax_runs = 9\n')
    (tmp_path / "inbox").mkdir()
    pinned = json.loads(json.dumps(pin(schedule, DUE)))
    assert (pinned["schedule"], pinned["due"]) == ("nightly@2026-11-23T01:00:00Z", "2026-11-23T02:00+01:00")
    assert pinned["deadline_ms"] == datetime(2026, 11, 23, 5, tzinfo=UTC).timestamp() * 1000
    spec = target_of(settings, pinned).spec
    assert (spec.source, spec.name) == (str(tmp_path / "inbox"), "nightly 2026-11-23 02:00")
    assert spec.to == (str(tmp_path / "out/2026-11-23"),)
    assert spec.options[SCHEDULE] == pinned["schedule"]
    assert (spec.options["skip"], spec.choices["max_runs"]) == ("unchanged", "9")


def test_everything_a_schedule_can_say_is_an_option_of_run(tmp_path: Path) -> None:
    _, schedule = nightly(tmp_path)
    asked = asked_of(pin(schedule, DUE))
    own = {"name", "folder", "cron", "zone", "catch_up", "overlap", "deadline", "tell", "tell_success", "source"}
    assert {*Schedule.model_fields} - own <= {*Asked.__dataclass_fields__}
    assert asked == Asked(
        (str(tmp_path / "inbox"),), "kolena:42", (str(tmp_path / "out/2026-11-23"),), name="nightly 2026-11-23 02:00"
    )


def test_a_night_that_another_version_pinned_is_left_to_it(tmp_path: Path) -> None:
    _, schedule = nightly(tmp_path)
    pinned = pin(schedule, DUE)
    pinned["asked"]["shuffle"] = True
    with pytest.raises(ConfigError, match="another version, with shuffle"):
        asked_of(pinned)


@pytest.mark.parametrize(
    ("to", "place"),
    [
        ("out/{date}/", "{folder}/out/2026-11-23"),
        ("/srv/{name}", "/srv/nightly"),
        ("sqlite:///r.db", "sqlite:///{folder}/r.db"),
        ("sqlite:////srv/r.db", "sqlite:////srv/r.db"),
        ("s3://b/{year}/{date}", "s3://b/2026/2026-11-23"),
    ],
)
def test_relative_places_start_at_the_folder_of_the_file(tmp_path: Path, to: str, place: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/paceline.toml").write_text(TABLE.replace("out/{date}", to), "utf-8")
    settings = load_settings({"PACELINE_CONFIG": "etc/paceline.toml", "KOLENA_API_KEY": "k"}, tmp_path)
    pinned = pin(settings.schedules["nightly"], DUE)
    assert pinned["asked"]["to"] == [place.format(folder=tmp_path / "etc")]
    assert pinned["asked"]["sources"] == [str(tmp_path / "etc/inbox")]


@pytest.mark.parametrize(
    ("to", "cron", "remedy"),
    [
        ("out", "0 2 * * *", "add {date} to it"),
        ("out/{day}", "0 2 * * *", "add {date} to it"),
        ("out/{date}", "0 */6 * * *", "add {date} and {time} to it"),
        ("x.jsonl", "0 2 * * *", "add {date} to it"),
        ("s3://bucket/{date}", "*/10 * * * *", "add {date} and {time} to it"),
        ("out/{date}.json", "0 2 * * *", "for lines of JSON write"),
        ("nowhere://x", "0 2 * * *", "unknown kind of address"),
    ],
)
def test_a_destination_that_two_nights_would_share_is_refused(tmp_path: Path, to: str, cron: str, remedy: str) -> None:
    settings, schedule = nightly(tmp_path, TABLE.replace("out/{date}", to).replace("0 2 * * *", cron))
    with pytest.raises(ConfigError) as caught:
        check_schedule(settings, schedule, NOW)
    assert str(caught.value).startswith("schedules.nightly.to: ")
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("to", "cron"),
    [
        ("out/{date}", "0 2 * * *"),
        ("out/{date}/{time}", "30 * * * *"),
        ("sqlite:///r.db", "0 2 * * *"),
        ("https://example.org/hook", "* * * * *"),
        ("postgresql://host/db", "0 2 * * *"),
    ],
)
def test_what_many_batches_may_share_and_what_differs_is_allowed(tmp_path: Path, to: str, cron: str) -> None:
    settings, schedule = nightly(tmp_path, TABLE.replace("out/{date}", to).replace("0 2 * * *", cron))
    check_schedule(settings, schedule, datetime(2026, 10, 20, tzinfo=UTC))  # over the end of summer time


def test_two_destinations_that_meet_are_refused(tmp_path: Path) -> None:
    text = TABLE.replace('"out/{date}"', '["out/{date}", "out/{date}/results.jsonl"]')
    with pytest.raises(ConfigError, match="would write the same files"):
        check_schedule(*nightly(tmp_path, text), NOW)


def test_an_agent_of_no_account_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"schedules\.nightly\.agent: no account archive"):
        check_schedule(*nightly(tmp_path, TABLE.replace("kolena:42", "archive:42")), NOW)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('group_by = "folder"', "schedules.nightly.group_by 'folder': write directory, column:NAME or regex:PATTERN"),
        ('group_by = "directory"\nisolate = true', "schedules.nightly.isolate halves a run that failed"),
        ('max_failures = "5 percent"', "schedules.nightly.max_failures '5 percent': write a number of submissions"),
        ('wait_seconds = "long"', "schedules.nightly.wait_seconds 'long': write a number of seconds, or auto"),
        ("files_per_run = 1000", "schedules.nightly.files_per_run 1000: account kolena takes at most 300 files a run"),
    ],
)
def test_an_option_that_run_would_refuse_is_named_before_the_night_comes(tmp_path: Path, line: str, said: str) -> None:
    problem = problem_of(*nightly(tmp_path, TABLE + line), NOW)
    assert problem is not None
    assert problem.startswith(said)
    assert "--" not in problem


def test_a_schedule_that_says_everything_has_no_problem(tmp_path: Path) -> None:
    more = (
        'group_by = "regex:^(.)"\npack_groups = true\nmax_failures = "5%"\nwait_seconds = "auto"\nfiles_per_run = 300'
    )
    assert problem_of(*nightly(tmp_path, TABLE + more), NOW) is None


@pytest.mark.parametrize(
    ("to", "place"), [("out/{date}", "out/2026-11-23T111530"), ("{year}/{month}/{day}", "2026/11/23T111530")]
)
def test_a_night_in_between_never_takes_the_place_of_that_days(tmp_path: Path, to: str, place: str) -> None:
    _, schedule = nightly(tmp_path, TABLE.replace("out/{date}", to).replace("inbox", "in/{date}"))
    extra, regular = pin(schedule, DUE.replace(hour=10, minute=15, second=30)), pin(schedule, DUE)
    assert extra["asked"]["to"] == [str(tmp_path / place)]
    assert extra["asked"]["to"] != regular["asked"]["to"]
    assert extra["asked"]["sources"] == regular["asked"]["sources"]


def test_beat_sends_one_tick_which_expires_and_only_where_there_are_schedules(tmp_path: Path) -> None:
    settings, _ = nightly(tmp_path, "schedule_tick_seconds = 5\n" + TABLE)
    found = celery_settings(settings)
    entry = found["beat_schedule"]["paceline.schedule"]  # type: ignore[index]  # a table of anything
    assert (entry["schedule"], entry["options"]["queue"], entry["options"]["expires"]) == (5, "control", 60)
    (tmp_path / "paceline.toml").unlink()
    assert celery_settings(load_settings({}, tmp_path))["beat_schedule"] == {}


# --- the batch's id


def spec(**more: object) -> BatchSpec:
    fields: dict[str, object] = {"source": "/a", "account": "k", "provider": "kolena", "agent": "1", "to": ("/o",)}
    fields |= {"files_per_run": 300, "name": "n", "options": {SCHEDULE: "nightly@2026-11-23T01:00:00Z"}}
    return BatchSpec(**(fields | more))  # type: ignore[arg-type]  # fields by name


def test_a_nights_batch_is_known_by_schedule_and_due_time() -> None:
    same = [
        spec(),
        spec(source="/b", to=("/p",), files_per_run=2, name="m"),
        spec(options={**spec().options, "skip": "x"}),
    ]
    assert len({one.batch_id() for one in same}) == 1
    others = [
        spec(options={SCHEDULE: "nightly@2026-11-24T01:00:00Z"}),
        spec(agent="2"),
        spec(account="l"),
        spec(options={}),
    ]
    assert len({one.batch_id() for one in [spec(), *others]}) == 5


def test_the_ids_of_other_batches_are_as_they_were() -> None:
    assert spec(options={}).batch_id() == "b0k7tyd72g"

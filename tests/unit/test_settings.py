"""Settings come from defaults, a file and the environment; whatever is wrong with them is one line with a remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import docs
from config.accounts import Account, Limits
from config.rates import parse_rate
from config.settings import Settings, load_settings
from paceline.errors import ConfigError, CredentialsError
from paceline.model import EndpointClass, Rate, SizeLimits

ROOT = Path(__file__).parents[2]
CANARY = "sk-canary-5f2e9c"

Refusal = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """Load what must be refused and return the sentence, after checking what holds for every one of them."""

    def load(toml: str = "", /, **environ: str) -> str:
        if toml:
            (tmp_path / "paceline.toml").write_text(toml, "utf-8")
        with pytest.raises(ConfigError) as caught:
            load_settings(environ, tmp_path)
        sentence = str(caught.value)
        assert sentence.isprintable()
        assert len(sentence) < 400
        assert CANARY not in sentence
        assert "pydantic" not in sentence.lower()
        assert caught.value.__cause__ is None
        return sentence

    return load


def loaded(tmp_path: Path, toml: str = "", /, **environ: str) -> Settings:
    if toml:
        (tmp_path / "paceline.toml").write_text(toml, "utf-8")
    return load_settings(environ, tmp_path)


# --- where values come from


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    settings = loaded(tmp_path)

    assert settings.accounts == {}
    assert settings.redis_url is None
    assert settings.home == tmp_path / ".paceline"
    assert (settings.settle_seconds, settings.permit_life_seconds, settings.feed_window) == (120, 1, 64)


def test_a_key_alone_gives_an_account(tmp_path: Path) -> None:
    account = loaded(tmp_path, KOLENA_API_KEY=CANARY).accounts["kolena"]

    assert (account.name, account.provider, account.key_env) == ("kolena", "kolena", "KOLENA_API_KEY")
    assert account.url == "https://agents-api.kolena.com"
    assert account.size_limits == SizeLimits(300, 250_000_000, None)
    assert set(account.rates) == set(EndpointClass)


def test_the_second_provider_needs_no_configuration_either(tmp_path: Path) -> None:
    account = loaded(tmp_path, KINDO_API_KEY=CANARY).accounts["kindo"]

    assert (account.provider, account.url) == ("kindo", "https://api.kindo.ai")
    assert account.size_limits.submission_bytes == 50_000_000


def test_an_empty_key_gives_no_account(tmp_path: Path) -> None:
    assert loaded(tmp_path, KOLENA_API_KEY="").accounts == {}


def test_the_vendors_variable_moves_its_account_but_no_other(tmp_path: Path) -> None:
    toml = '[accounts.second]\nprovider = "kolena"\n'

    accounts = loaded(tmp_path, toml, KOLENA_API_KEY=CANARY, KOLENA_API_URL="http://localhost:8080/").accounts

    assert accounts["kolena"].url == "http://localhost:8080"
    assert accounts["second"].url == "https://agents-api.kolena.com"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    toml = 'settle_seconds = 5\nworkers = 3\n[accounts.kolena.limits]\nadd = "10/60s"\nget = "11/60s"\n'
    environ = {"PACELINE_SETTLE_SECONDS": "7", "PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD": "40/60s"}

    settings = loaded(tmp_path, toml, **environ)

    assert (settings.settle_seconds, settings.workers) == (7, 3)
    limits = settings.accounts["kolena"].limits
    assert (str(limits.add), str(limits.get)) == ("40/60s", "11/60s")


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    assert loaded(tmp_path, PACELINE_REDIS_URL="", PACELINE_SETTLE_SECONDS="").settle_seconds == 120


def test_the_file_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("workers = 2\n")

    assert loaded(tmp_path, "workers = 3\n", PACELINE_CONFIG="other.toml").workers == 2


def test_a_relative_home_starts_at_the_current_folder(tmp_path: Path) -> None:
    assert loaded(tmp_path, PACELINE_HOME="state").home == tmp_path / "state"
    assert loaded(tmp_path, PACELINE_HOME="/srv/state").home == Path("/srv/state")


def test_the_tier_decides_the_limit_of_waiting_calls(tmp_path: Path) -> None:
    assert str(loaded(tmp_path, KOLENA_API_KEY=CANARY).accounts["kolena"].limits.wait) == "10/60s"
    assert str(loaded(tmp_path, '[accounts.kolena]\ntier = "enterprise"').accounts["kolena"].limits.wait) == "40/60s"


def test_an_account_of_any_name_reads_the_variable_of_that_name(tmp_path: Path) -> None:
    toml = '[accounts.eu-west]\nprovider = "kolena"\n'

    assert loaded(tmp_path, toml).accounts["eu-west"].key_env == "EU_WEST_API_KEY"


def test_settings_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        loaded(tmp_path).workers = 9  # type: ignore[misc]  # mypy knows it, too


# --- rates


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("40/60s", Rate(40, 60)),
        ("40/min", Rate(40, 60)),
        ("600/1m", Rate(600, 60)),
        ("40/2s", Rate(40, 2)),
        (" 5 / 0.5 S ", Rate(5, 0.5)),
        ("9/h", Rate(9, 3600)),
    ],
)
def test_a_rate_is_read_as_people_write_it(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_rate_survives_being_written_and_read(limit: int, window_ms: int) -> None:
    rate = Rate(limit, window_ms / 1000)

    assert parse_rate(f"{rate.limit}/{rate.window_s:.3f}s") == rate


@pytest.mark.parametrize(
    "text", ["", "40", "40/", "40/0s", "0/60s", "-1/s", "forty/min", "40/60", "40/60 parsecs", "1/s/s"]
)
def test_what_is_no_rate_is_refused_with_an_example(refusal: Refusal, text: str) -> None:
    sentence = refusal(f"[accounts.kolena.limits]\nadd = '{text}'")

    assert sentence == (
        f'accounts.kolena.limits.add (paceline.toml) is {text!r}: not a rate; write REQUESTS/SECONDS, e.g. "40/60s"'
    )


def test_a_bare_number_is_no_rate(refusal: Refusal) -> None:
    assert "is 40: not a rate" in refusal("[accounts.kolena.limits]\nadd = 40")


# --- names that don't exist


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("PACELINE_SETLE_SECONDS", "PACELINE_SETTLE_SECONDS"),
        ("PACELINE_REDIS", "PACELINE_REDIS_URL"),
        ("PACELINE_ACCOUNTS__KOLENA__LIMIT__ADD", "PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD"),
        ("PACELINE_ACCOUNTS__KOLENA__LIMITS__ADDD", "PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD"),
        ("PACELINE_ACCOUNT__KOLENA__URL", "PACELINE_ACCOUNTS__KOLENA__URL"),
        ("PACELINE_SETTLE_SECONDS__X", "PACELINE_SETTLE_SECONDS"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_right_one(refusal: Refusal, variable: str, meant: str) -> None:
    assert refusal(**{variable: "1"}) == f"{variable} (environment): no such setting; did you mean {meant}?"


def test_a_misspelt_variable_is_refused_even_when_empty(refusal: Refusal) -> None:
    assert "no such setting" in refusal(PACELINE_SETLE_SECONDS="")


def test_a_variable_like_no_other_points_to_the_list(refusal: Refusal) -> None:
    assert (
        refusal(PACELINE_FOO="1") == "PACELINE_FOO (environment): no such setting; see docs/settings.md for the names"
    )


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("settle_second = 1", "settle_second (paceline.toml): no such setting; did you mean settle_seconds?"),
        (
            "[accounts.kolena]\nmax_file = 1",
            "accounts.kolena.max_file (paceline.toml): no such setting; did you mean accounts.kolena.max_files?",
        ),
        (
            "[accounts.eu.limits]\nad = '1/s'",
            "accounts.eu.limits.ad (paceline.toml): no such setting; did you mean accounts.eu.limits.add?",
        ),
        (
            "[account.kolena]\nurl = ''",
            "account.kolena.url (paceline.toml): no such setting; did you mean accounts.kolena.url?",
        ),
    ],
)
def test_a_misspelt_name_in_the_file_is_refused(refusal: Refusal, toml: str, sentence: str) -> None:
    assert refusal(toml) == sentence


def test_the_name_of_an_account_cannot_be_set(refusal: Refusal) -> None:
    assert "no such setting" in refusal("[accounts.kolena]\nname = 'x'")


@pytest.mark.parametrize("name", ["Eu", "e u", "a:b", "a__b", "-a", '"\\u001b[31m"'])
def test_an_account_name_that_could_not_be_used_is_refused(refusal: Refusal, name: str) -> None:
    quoted = name if name.startswith('"') else f'"{name}"'

    assert "no account name; use a-z, 0-9, - and _" in refusal(f"[accounts.{quoted}]\nprovider = 'kolena'")


def test_a_table_is_no_setting(refusal: Refusal) -> None:
    assert refusal(PACELINE_ACCOUNTS="{}") == (
        "PACELINE_ACCOUNTS (environment) is a table; set a name in it, such as PACELINE_ACCOUNTS__KOLENA__PROVIDER"
    )
    assert refusal("[accounts.kolena]\nlimits = '40/60s'") == (
        "accounts.kolena.limits (paceline.toml) is a table; set a name in it, such as accounts.kolena.limits.add"
    )


def test_a_setting_is_no_table(refusal: Refusal) -> None:
    assert refusal("settle_seconds = {}") == "settle_seconds (paceline.toml) is no table"


# --- bad values


@pytest.mark.parametrize(
    ("variable", "value", "rest"),
    [
        ("SETTLE_SECONDS", "soon", "is 'soon': it must be a number; e.g. PACELINE_SETTLE_SECONDS=120"),
        ("SETTLE_SECONDS", "-1", "is '-1': it must be at least 0; e.g. PACELINE_SETTLE_SECONDS=120"),
        ("SETTLE_SECONDS", "nan", "is 'nan': it must be a number; e.g. PACELINE_SETTLE_SECONDS=120"),
        ("READ_SECONDS", "0", "is '0': it must be more than 0; e.g. PACELINE_READ_SECONDS=60"),
        ("WORKERS", "2.5", "is '2.5': it must be a whole number; e.g. PACELINE_WORKERS=1"),
        ("WORKERS", "65", "is '65': it must be at most 64; e.g. PACELINE_WORKERS=1"),
        ("EVENTS", "maybe", "is 'maybe': it must be true or false; e.g. PACELINE_EVENTS=false"),
        ("LOG_FORMAT", "xml", "is 'xml': it must be 'text' or 'json'; e.g. PACELINE_LOG_FORMAT=text"),
        ("WORKERS", "x" * 99, f"is '{'x' * 59}…: it must be a whole number; e.g. PACELINE_WORKERS=1"),
        ("WORKERS", "\x1b[2J\n", "is '\\x1b[2J\\n': it must be a whole number; e.g. PACELINE_WORKERS=1"),
    ],
)
def test_a_bad_value_is_shown_with_a_good_one(refusal: Refusal, variable: str, value: str, rest: str) -> None:
    assert refusal(**{f"PACELINE_{variable}": value}) == f"PACELINE_{variable} (environment) {rest}"


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        (
            "settle_seconds = 'soon'",
            "settle_seconds (paceline.toml) is 'soon': it must be a number; e.g. settle_seconds = 120",
        ),
        ("events = 'maybe'", "events (paceline.toml) is 'maybe': it must be true or false; e.g. events = false"),
        ("home = 3", 'home (paceline.toml) is 3: it has the wrong type; e.g. home = ".paceline"'),
        (
            "[accounts.kolena]\ntier = 'gold'",
            "accounts.kolena.tier (paceline.toml) is 'gold': it must be 'starter', 'professional' or 'enterprise';"
            " e.g. starter",
        ),
        ("[accounts.kolena]\nmax_files = 0", "accounts.kolena.max_files (paceline.toml) is 0: it must be more than 0"),
        (
            "[accounts.eu]\nprovider = 'kolenaa'",
            "accounts.eu.provider (paceline.toml) is 'kolenaa': it must be 'kolena' or 'kindo'",
        ),
    ],
)
def test_a_bad_value_in_the_file_is_shown_with_a_good_one(refusal: Refusal, toml: str, sentence: str) -> None:
    assert refusal(toml) == sentence


def test_a_bad_value_is_blamed_on_the_place_that_won(refusal: Refusal) -> None:
    assert refusal("workers = 2", PACELINE_WORKERS="x").startswith("PACELINE_WORKERS (environment) is 'x'")


def test_an_account_must_say_whose_it_is(refusal: Refusal) -> None:
    assert refusal("[accounts.eu]\ntier = 'starter'") == (
        "accounts.eu.tier (paceline.toml): account eu has no provider; set accounts.eu.provider to kolena or kindo"
    )


def test_a_misspelt_account_is_found_by_its_missing_provider(refusal: Refusal) -> None:
    assert refusal(PACELINE_ACCOUNTS__KOLENNA__LIMITS__ADD="1/s") == (
        "PACELINE_ACCOUNTS__KOLENNA__LIMITS__ADD (environment): account kolenna has no provider;"
        " did you mean account kolena?"
    )


@pytest.mark.parametrize("address", ["localhost:80", "ftp://host", "https://", f"https://me:{CANARY}@host"])
def test_an_address_that_is_none_is_refused_unseen(refusal: Refusal, address: str) -> None:
    assert refusal(KOLENA_API_URL=address) == (
        "KOLENA_API_URL (environment): not an address; write https://HOST, without user name or password"
    )


@pytest.mark.parametrize("address", [f"http://:{CANARY}@host", "localhost:6379", "redis://", "unix://"])
def test_a_redis_address_that_is_none_is_refused_unseen(refusal: Refusal, address: str) -> None:
    assert refusal(PACELINE_REDIS_URL=address) == (
        "PACELINE_REDIS_URL (environment): not a Redis address; write redis://HOST:6379/0, rediss://… or unix:///PATH"
    )


@pytest.mark.parametrize(
    "address",
    [
        f"redis://me:a/{CANARY}@host:6379/0",  # the rest of the password stands where the database does
        f"redis://me:{CANARY}/b@host:6379/0",  # its beginning where the port does
        f"redis://host:6379/{CANARY}",
        f"redis://host:{CANARY}/0",
        f"redis://:a@b#{CANARY}@host/0",
        f"redis://[{CANARY}]:6379/0",
        f"redis://host:6379/0?password={CANARY}",
        f"unix:///run/redis.sock?db=1&password={CANARY}",
    ],
)
def test_a_password_in_the_wrong_place_of_an_address_is_refused_unseen(refusal: Refusal, address: str) -> None:
    assert refusal(PACELINE_REDIS_URL=address).startswith("PACELINE_REDIS_URL (environment): ")


def test_a_password_of_odd_characters_is_taken_where_it_is_written_in_percent(tmp_path: Path) -> None:
    settings = loaded(tmp_path, PACELINE_REDIS_URL="redis://me:a%2Fb%23c@host:6379/0")

    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://me:a%2Fb%23c@host:6379/0"


# --- the file itself


def test_a_named_file_that_is_missing_is_an_error(refusal: Refusal) -> None:
    assert refusal(PACELINE_CONFIG="no.toml") == (
        "PACELINE_CONFIG names no.toml, which doesn't exist; correct it or unset it"
    )


def test_a_broken_file_is_refused_with_its_line(refusal: Refusal) -> None:
    assert re.fullmatch(r"paceline.toml is no valid TOML: .*line 2.*", refusal("workers = 1\nworkers = = 2\nx = 1\n"))


def test_a_file_of_another_encoding_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "paceline.toml").write_bytes(b"# caf\xe9\n")

    assert refusal() == "paceline.toml isn't UTF-8 text; save it as UTF-8"


def test_a_folder_in_the_files_place_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "paceline.toml").mkdir()

    assert refusal() == "paceline.toml can't be read (Is a directory); correct its path or permissions"


# --- keys


@pytest.mark.parametrize("name", ["key", "api_key", "token", "password", "secret", "apikey"])
def test_a_key_in_the_file_is_refused_with_the_remedy(refusal: Refusal, name: str) -> None:
    assert refusal(f"[accounts.kolena]\n{name} = '{CANARY}'") == (
        f"accounts.kolena.{name} (paceline.toml): keys are never part of the settings; remove it and export the key as"
        " KOLENA_API_KEY (or name another variable in accounts.kolena.key_env)"
    )


def test_a_key_in_a_variable_of_ours_is_refused_with_the_remedy(refusal: Refusal) -> None:
    assert refusal(PACELINE_ACCOUNTS__EU__API_KEY=CANARY).endswith(
        "export the key as EU_API_KEY (or name another variable in PACELINE_ACCOUNTS__EU__KEY_ENV)"
    )
    assert "export the key as KOLENA_API_KEY" in refusal(PACELINE_KOLENA_API_KEY=CANARY)


def test_a_key_in_place_of_its_variables_name_is_refused_unseen(refusal: Refusal) -> None:
    assert refusal(f"[accounts.kolena]\nkey_env = '{CANARY}'") == (
        'accounts.kolena.key_env (paceline.toml): not the name of a variable; write the name, e.g. "KOLENA_API_KEY",'
        " and export the key under it"
    )


def test_neither_key_nor_password_is_in_the_settings(tmp_path: Path) -> None:
    settings = loaded(tmp_path, KOLENA_API_KEY=CANARY, PACELINE_REDIS_URL=f"redis://:{CANARY}@host/0")

    assert CANARY not in repr(settings)
    assert CANARY not in str(settings)
    assert CANARY not in settings.model_dump_json()


def test_a_key_is_read_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    account = loaded(tmp_path, KOLENA_API_KEY="then").accounts["kolena"]

    monkeypatch.setenv("KOLENA_API_KEY", "now\n")

    assert account.key() == "now"


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EU_KEY", raising=False)
    account = loaded(tmp_path, "[accounts.eu]\nprovider = 'kolena'\nkey_env = 'EU_KEY'").accounts["eu"]

    with pytest.raises(CredentialsError) as caught:
        account.key()

    assert str(caught.value) == "account eu: no key; set it with: export EU_KEY=…"


@pytest.mark.parametrize("key", [f'"{CANARY} x"', f"{CANARY}\nX-Header: 1", f"{CANARY}é"])
def test_a_key_unfit_for_a_header_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    monkeypatch.setenv("KOLENA_API_KEY", key)
    account = loaded(tmp_path, KOLENA_API_KEY=key).accounts["kolena"]

    with pytest.raises(CredentialsError, match="the value of KOLENA_API_KEY has characters no key has") as caught:
        account.key()

    assert CANARY not in str(caught.value)


# --- finding an account


def two_of_kolena(tmp_path: Path) -> Settings:
    return loaded(tmp_path, "[accounts.eu]\nprovider='kolena'\n[accounts.us]\nprovider='kolena'\n")


def test_an_account_is_found_by_its_name(tmp_path: Path) -> None:
    assert two_of_kolena(tmp_path).account("us").name == "us"


def test_a_provider_with_one_account_names_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[accounts.eu]\nprovider='kolena'\n").account("kolena").name == "eu"


def test_a_provider_with_several_accounts_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kolena has several accounts; name one of them: eu, us"):
        two_of_kolena(tmp_path).account("kolena")


def test_a_provider_without_account_asks_for_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KOLENA_API_KEY", raising=False)

    with pytest.raises(CredentialsError, match="account kolena: no key; set it with: export KOLENA_API_KEY=…"):
        loaded(tmp_path).account("kolena")


def test_an_unknown_account_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no account euu; did you mean eu\?"):
        two_of_kolena(tmp_path).account("euu")
    with pytest.raises(ConfigError, match="no account production; known: eu, us"):
        two_of_kolena(tmp_path).account("production")


def test_an_unknown_account_cannot_move_the_cursor(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path).account("\x1b[2J")

    assert str(caught.value).isprintable()


# --- what is written about them


def test_the_documentation_is_current() -> None:
    assert (ROOT / "docs/settings.md").read_text("utf-8") == docs.pages(), (
        "run: python -m config.docs > docs/settings.md"
    )


def test_the_file_shown_in_the_documentation_loads(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", docs.pages(), re.S)
    assert example

    settings = loaded(tmp_path, example[1])

    assert set(settings.accounts) == {"kolena", "archive"}


def test_every_setting_is_documented() -> None:
    page = docs.pages()
    tables = {"accounts", "schedules", "limits", "name"}

    names = {*Settings.model_fields, *Account.model_fields, *Limits.model_fields} - tables

    page = page.replace(".OPTION`", "`")
    assert [name for name in sorted(names) if f"{name}`" not in page] == []


def test_every_line_of_the_example_environment_is_a_setting(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    assignments = [line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line)]

    settings = loaded(tmp_path, **dict(assignments))

    assert len(assignments) > 5
    assert settings.accounts["kolena"].tier == "enterprise"


def test_this_processs_own_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PACELINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PACELINE_WORKERS", "5")
    monkeypatch.chdir(tmp_path)

    settings = load_settings()

    assert (settings.workers, settings.home) == (5, tmp_path / ".paceline")


def test_the_secret_of_webhooks_is_for_the_environment_alone(tmp_path: Path, refusal: Refusal) -> None:
    settings = loaded(tmp_path, PACELINE_WEBHOOK_SECRET=CANARY)
    assert CANARY not in repr(settings)

    sentence = refusal(f'webhook_secret = "{CANARY}"')
    assert "remove it and export it as PACELINE_WEBHOOK_SECRET" in sentence

"""Providers that other packages bring: found by name, loaded only where used, set up like our own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.exits import Exit, exit_of
from cli.planning import _settings_for
from cli.target import parse_agent
from config.accounts import Account
from config.schema import Settings
from config.services import open_provider
from config.settings import load_settings
from paceline.errors import ConfigError, UsageError
from paceline.providers import kinds
from paceline.providers.kinds import provider_kind, provider_names, provider_package
from tests.support.installed import EXAMPLE, install, make_package

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
from dataclasses import replace
from paceline.model import EndpointClass, Rate
from paceline.providers.kolena_kind import KIND as KOLENA
KIND = replace(KOLENA, name="acme", url="https://acme.example", **{})
"""

Loading = Callable[..., Settings]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder on the path, into which packages can be installed."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    kinds._found.cache_clear()
    provider_kind.cache_clear()
    yield folder
    sys.modules.pop("acme_kind", None)
    kinds._found.cache_clear()
    provider_kind.cache_clear()


def acme(packages: Path, source: str = "", *, changes: str = "", **more: str) -> None:
    """Install the package of a provider named acme."""
    make_package(packages, "acme", "acme", "acme_kind:KIND", acme_kind=source or GOOD.replace("**{}", changes), **more)


@pytest.fixture
def loaded(tmp_path: Path) -> Loading:
    def load(toml: str = "", **variables: str) -> Settings:
        (tmp_path / "paceline.toml").write_text(toml, "utf-8")
        return load_settings(variables, tmp_path)

    return load


def test_kolena_comes_first_and_the_others_follow_by_name(packages: Path) -> None:
    acme(packages)
    install(EXAMPLE, packages)
    assert provider_names() == ("kolena", "acme", "kindo", "rest")
    assert provider_package("rest") == "paceline-rest 0.1.0"


def test_a_provider_needs_its_key_alone(packages: Path, loaded: Loading) -> None:
    acme(packages)
    account = loaded(ACME_API_KEY="x").accounts["acme"]
    assert (account.provider, account.url) == ("acme", "https://acme.example")


def test_a_hyphen_in_a_providers_name_is_an_underscore_in_variables(packages: Path, loaded: Loading) -> None:
    source = GOOD.replace('"acme"', '"acme-eu"').replace("**{}", "")
    make_package(packages, "acme", "acme-eu", "acme_kind:KIND", acme_kind=source)
    account = loaded(ACME_EU_API_KEY="x", ACME_EU_API_URL="https://eu.example").accounts["acme-eu"]
    assert (account.url, account.key_env) == ("https://eu.example", "ACME_EU_API_KEY")


BROKEN = {
    "raises": ("raise RuntimeError('half\\n\\x1b[31minstalled')", "(RuntimeError: half [31minstalled)"),
    "imports what isn't there": ("import no_such_module_at_all", "ModuleNotFoundError: No module named"),
    "has no KIND": ("", "AttributeError"),
    "isn't a kind": ("KIND = 'acme'", "acme_kind:KIND isn't the ProviderKind of 'acme'"),
    "is another kind": ("from paceline.providers.kolena_kind import KIND", "isn't the ProviderKind of 'acme'"),
    "lacks a rate": (GOOD.replace("**{}", "rates={EndpointClass.ADD: Rate(1, 1)}"), "no rate for wait, get, list"),
    "has a wrong pattern": (GOOD.replace("**{}", "agent_id='['"), "a pattern of its ids is wrong"),
    "has a wrong example": (GOOD.replace("**{}", "agent_example='x'"), "'x' is no id of an agent"),
    "has a colon": (GOOD.replace("**{}", "agent_id='.*', agent_example='a:b'"), "'a:b' is no id of an agent"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_package_that_is_broken_is_one_line_where_it_is_used(packages: Path, loaded: Loading, broken: str) -> None:
    source, words = BROKEN[broken]
    acme(packages, source or "pass")
    assert list(loaded(KOLENA_API_KEY="x").accounts) == ["kolena"]
    for setting in ({"ACME_API_KEY": "x"}, {"PACELINE_ACCOUNTS__EU__PROVIDER": "acme"}):
        with pytest.raises(ConfigError) as caught:
            loaded(**setting)
        assert words in str(caught.value)
        assert str(caught.value).isprintable()
        assert "mend or remove" in str(caught.value)
        assert exit_of(caught.value) == Exit.CONFIG


def test_a_name_that_no_account_can_have_disturbs_nobody(packages: Path, loaded: Loading) -> None:
    make_package(packages, "acme", "Acme.Cloud", "acme_kind:KIND", acme_kind=GOOD.replace('"acme"', '"Acme.Cloud"'))
    assert list(loaded(KOLENA_API_KEY="x").accounts) == ["kolena"]
    with pytest.raises(ConfigError, match="no name of an account"):
        provider_kind("Acme.Cloud")


def test_two_packages_of_one_name_are_told(packages: Path, loaded: Loading) -> None:
    acme(packages)
    make_package(packages, "other", "acme", "acme_kind:KIND")
    assert loaded(KOLENA_API_KEY="x").accounts
    with pytest.raises(ConfigError, match=r"'acme' is brought by (acme|other) 1.0 and (acme|other) 1.0"):
        loaded(ACME_API_KEY="x")


def test_an_adapter_that_cannot_be_opened_is_one_line(packages: Path, loaded: Loading) -> None:
    acme(packages, "def opened(opening):\n    import no_such_module_at_all\n" + GOOD.replace("**{}", "open=opened"))
    settings = loaded(ACME_API_KEY="x")
    with pytest.raises(ConfigError, match="adapter of provider 'acme' can't be opened"):
        open_provider(settings.account("acme"), settings)


def test_a_provider_that_is_not_installed_is_told_with_those_that_are(loaded: Loading) -> None:
    with pytest.raises(ConfigError, match="it must be 'kolena' or 'kindo'; install the package"):
        loaded("[accounts.eu]\nprovider = 'acme'")
    with pytest.raises(ConfigError, match="no account kolna; did you mean kolena"):
        loaded(KOLENA_API_KEY="x").account("kolna")


class TestExample:
    @pytest.fixture(autouse=True)
    def installed(self, packages: Path) -> None:
        install(EXAMPLE, packages)

    def test_it_is_as_short_as_its_page_says(self) -> None:
        assert len((EXAMPLE / "paceline_rest.py").read_text("utf-8").splitlines()) < 150

    def test_its_agents_look_as_it_says(self, loaded: Loading) -> None:
        settings = loaded(REST_API_KEY="x", REST_API_URL="https://a.example")
        assert parse_agent(settings, "rest:in_voices.v2")[1] == "in_voices.v2"
        with pytest.raises(UsageError, match="write it like rest:42"):
            parse_agent(settings, "rest:a/b")

    def test_it_has_no_address_of_its_own(self, loaded: Loading) -> None:
        with pytest.raises(ConfigError) as caught:
            loaded(REST_API_KEY="x")
        assert "account rest has no address; set PACELINE_ACCOUNTS__REST__URL to the API's" in str(caught.value)

    def test_a_plan_without_its_address_says_what_to_set(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match="provider rest has no address of its own; export REST_API_URL="):
            _settings_for("rest:42")
        monkeypatch.setenv("REST_API_URL", "https://a.example")
        assert _settings_for("rest:42")[0].accounts["rest"].url == "https://a.example"

    def test_its_options_have_defaults_and_may_be_set_anywhere(self, loaded: Loading) -> None:
        toml = "[accounts.eu]\nprovider = 'rest'\nurl = 'https://a.example'\n[accounts.eu.options]\nsucceeded = 1\n"
        account = loaded(toml, PACELINE_ACCOUNTS__EU__OPTIONS__LIST_PATH="/runs").accounts["eu"]
        assert (account.options["succeeded"], account.options["list_path"]) == ("1", "/runs")
        assert account.opening_options["run_path"] == "/runs/{run}"

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("options = {list_pth = '/runs'}", "rest has no option list_pth; did you mean list_path?"),
            ("options = {zzz = '/runs'}", "rest has no option zzz; it has submit_path, run_path"),
            ("options = {api_key = 'x'}", "options.api_key (paceline.toml): keys are never part of the settings"),
            ("options = 'x'", "accounts.eu.options (paceline.toml) is a table; set a name in it"),
            ("options = {run_path = {a = 1}}", "no such setting"),
            ("options = {run_path = []}", "it has the wrong type"),
        ],
    )
    def test_a_wrong_option_is_refused(self, loaded: Loading, line: str, words: str) -> None:
        with pytest.raises(ConfigError) as caught:
            loaded(f"[accounts.eu]\nprovider = 'rest'\nurl = 'https://a.example'\n{line}")
        assert words in str(caught.value)

    def test_an_empty_table_of_options_is_fine(self, loaded: Loading) -> None:
        assert loaded("[accounts.rest]\nurl = 'https://a.example'\noptions = {}").accounts["rest"].options["run_path"]

    def test_a_path_that_leads_nowhere_is_told(self, loaded: Loading) -> None:
        settings = loaded(
            REST_API_KEY="x", REST_API_URL="https://a.example", PACELINE_ACCOUNTS__REST__OPTIONS__RUN_PATH="/run"
        )
        with pytest.raises(ConfigError, match=r"option run_path is '/run'; it must begin with / and hold \{run\}"):
            open_provider(settings.account("rest"), settings)


def test_our_own_providers_have_no_options(loaded: Loading) -> None:
    with pytest.raises(ConfigError, match="kolena has no option list_path; it has none"):
        loaded("[accounts.kolena.options]\nlist_path = '/runs'")


def test_tiers_are_those_of_the_kind(packages: Path, loaded: Loading) -> None:
    tiers = "tiers={'free': {EndpointClass.ADD: Rate(1, 60.0)}, 'paid': {EndpointClass.ADD: Rate(9, 60.0)}}"
    acme(packages, changes=tiers)
    assert str(loaded(ACME_API_KEY="x").accounts["acme"].limits.add) == "1/60s"
    paid = Account.model_validate({"name": "acme", "tier": "paid"})
    assert str(paid.limits.add) == "9/60s"
    with pytest.raises(ConfigError, match=r"it must be 'free' or 'paid'; e\.g\. free"):
        loaded("[accounts.acme]\ntier = 'starter'")


LOOK = """
import sys
from cli.main import cli
from cli import status, limits, doctor
from config.settings import load_settings
from paceline.providers.kinds import provider_kind, provider_names
load_settings({"KOLENA_API_KEY": "x", "KINDO_API_KEY": "x", "REST_API_KEY": "x", "REST_API_URL": "https://a.example"})
assert "rest" in provider_names()
for name in provider_names():
    provider_kind(name)
print(sorted({"httpx", "httpcore", "celery"} & set(sys.modules)))
"""


def test_looking_up_kinds_imports_no_http_client(tmp_path: Path) -> None:
    packages = install(EXAMPLE, tmp_path / "packages")
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=ROOT,
        env={"PYTHONPATH": str(packages), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr

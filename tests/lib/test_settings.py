"""Settings: every variable, valid and not; refusals are one line and hold no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from lib.settings import VARIABLES, Settings, SettingsError, load_settings, unknown_variables

NO_FILE = Path("/does/not/exist/.env")
SECRET = "correct horse battery"

VALID: list[tuple[str, str, Any]] = [
    ("FLOOM_HOST", "::1", "::1"),
    ("FLOOM_PORT", "0", 0),
    ("FLOOM_PORT", "65535", 65_535),
    ("FLOOM_DATA_DIR", "/srv/floom", Path("/srv/floom")),
    ("WORKEROS_WORKSPACE_DIR", "/srv/workspace", Path("/srv/workspace")),
    ("FLOOM_WORKSPACE_ID", "team_1", "team_1"),
    ("FLOOM_PUBLIC_URL", "https://floom.example.com/base/", "https://floom.example.com/base/"),
    ("FLOOM_SECRET", f"  {SECRET} ", SecretStr(SECRET)),
    ("FLOOM_SECRETS_KEY", "0aF3" * 16, SecretStr("0aF3" * 16)),
    ("WORKEROS_GIT_REMOTE", "git@example.org:ws.git", SecretStr("git@example.org:ws.git")),
    ("WORKEROS_SHARED_SECRET_ROLE", "admin", "admin"),
    ("FLOOM_ALLOW_OPEN", "1", True),
    ("FLOOM_RATE_LIMITS", "0", False),
    ("FLOOM_ALLOWED_HOSTS", "a.example,10.0.0.5,", ("a.example", "10.0.0.5")),
    ("FLOOM_TRUSTED_PROXIES", "10.0.0.0/8,::1/128", ("10.0.0.0/8", "::1/128")),
    ("FLOOM_MAX_CONCURRENT_RUNS", "1", 1),
    ("FLOOM_SANDBOX", "off", "off"),
    ("FLOOM_RETENTION_DAYS", "0", 0),
    ("FLOOM_LOG_FORMAT", "json", "json"),
    ("FLOOM_LOG_LEVEL", "debug", "debug"),
    ("FLOOM_BACKEND", "local", "local"),
    ("FLOOM_BUNDLE_STORE", "s3://bucket/prefix", "s3://bucket/prefix"),
    ("FLOOM_BUNDLE_STORE", "file:///srv/bundles", "file:///srv/bundles"),
    ("FLOOM_BUNDLE_REFRESH_SECONDS", "0.5", 0.5),
    ("FLOOM_SMTP_URL", " smtps://ada:pw@mail.example ", SecretStr("smtps://ada:pw@mail.example")),
    ("FLOOM_MAIL_FROM", "Floom <floom@example.org>", "Floom <floom@example.org>"),
]
INVALID: list[tuple[str, str]] = [
    ("FLOOM_HOST", "0.0.0.0"),
    ("FLOOM_HOST", "floom.example.com"),
    ("FLOOM_PORT", "many"),
    ("FLOOM_PORT", "65536"),
    ("FLOOM_PORT", "-1"),
    ("FLOOM_WORKSPACE_ID", "Team 1"),
    ("FLOOM_PUBLIC_URL", "floom.example.com"),
    ("FLOOM_PUBLIC_URL", "ftp://floom.example.com"),
    ("FLOOM_PUBLIC_URL", "https://floom.example.com/?x=1"),
    ("FLOOM_PUBLIC_URL", "https:///path"),
    ("FLOOM_SECRET", "hunter2"),
    ("FLOOM_SECRETS_KEY", "xyz" * 20),
    ("WORKEROS_GIT_REMOTE", "ext::sh -c id"),
    ("FLOOM_SECRETS_KEY", "0a" * 31),
    ("WORKEROS_SHARED_SECRET_ROLE", "owner"),
    ("FLOOM_ALLOW_OPEN", "perhaps"),
    ("FLOOM_RATE_LIMITS", "sometimes"),
    ("FLOOM_ALLOWED_HOSTS", "a.example,b c"),
    ("FLOOM_TRUSTED_PROXIES", "10.0.0.0/8,x"),
    ("FLOOM_MAX_CONCURRENT_RUNS", "0"),
    ("FLOOM_MAX_CONCURRENT_RUNS", "1001"),
    ("FLOOM_SANDBOX", "maybe"),
    ("FLOOM_RETENTION_DAYS", "-1"),
    ("FLOOM_LOG_FORMAT", "xml"),
    ("FLOOM_LOG_LEVEL", "loud"),
    ("FLOOM_BACKEND", "azure"),
    ("FLOOM_BACKEND", "aws"),
    ("FLOOM_BUNDLE_STORE", "/srv/bundles"),
    ("FLOOM_BUNDLE_STORE", "s3://key:secret@bucket/prefix"),
    ("FLOOM_BUNDLE_REFRESH_SECONDS", "-1"),
    ("FLOOM_BUNDLE_REFRESH_SECONDS", "nan"),
    ("FLOOM_SMTP_URL", "smtp://ada:correct-horse@mail.example:many"),
    ("FLOOM_SMTP_URL", "mail.example"),
    ("FLOOM_MAIL_FROM", "floom"),
    ("FLOOM_MAIL_FROM", "a@example.org, b@example.org"),
]


def load(**variables: str) -> Settings:
    return load_settings(variables, dotenv=NO_FILE)


def refusal(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    return str(caught.value)


@pytest.mark.parametrize(("name", "text", "value"), VALID)
def test_a_valid_value_is_taken(name: str, text: str, value: Any) -> None:
    assert getattr(load(**{name: text}), VARIABLES[name]) == value


@pytest.mark.parametrize(("name", "text"), INVALID)
def test_a_refusal_is_one_line_that_names_the_variable(name: str, text: str) -> None:
    message = refusal(**{name: text})
    assert message.startswith(name)
    assert len(message) > len(name) + 10
    assert "\n" not in message
    assert (text in message) != (
        name
        in {
            "FLOOM_SECRET",
            "FLOOM_SECRETS_KEY",
            "WORKEROS_GIT_REMOTE",
            "FLOOM_BUNDLE_STORE",
            "FLOOM_SMTP_URL",
        }
    )


def test_every_variable_is_tried_both_ways() -> None:
    assert {name for name, *_ in VALID} == set(VARIABLES)
    free = {"FLOOM_DATA_DIR", "WORKEROS_WORKSPACE_DIR"}  # any path will do
    assert {name for name, _ in INVALID} == set(VARIABLES) - free


def test_without_any_variable_the_server_is_local_and_open_to_this_machine() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.secret) == ("127.0.0.1", 8000, None)
    assert settings.data_dir == Path("var")
    assert settings.base_url == "http://localhost:8000"
    assert settings.workspace_path == Path("var/workspace").absolute()
    assert settings.sandbox_mode == "best_effort"
    assert (settings.retention_days, settings.shared_secret_role) == (90, "member")
    assert settings.max_concurrent_runs >= 2


@pytest.mark.parametrize(
    ("given", "limited"),
    [
        ({}, False),
        ({"FLOOM_SECRET": SECRET}, True),
        ({"FLOOM_RATE_LIMITS": "1"}, True),
        ({"FLOOM_SECRET": SECRET, "FLOOM_RATE_LIMITS": "0"}, False),
        ({"FLOOM_SECRET": SECRET, "FLOOM_RATE_LIMITS": ""}, True),
    ],
)
def test_calls_are_counted_where_there_is_a_secret_unless_set(
    given: dict[str, str], limited: bool
) -> None:
    assert load(**given).are_rates_limited is limited


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_empty_is_unset(name: str) -> None:
    assert load(**{name: ""}) == load()


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# comment\nFLOOM_PORT=9000\nexport FLOOM_LOG_LEVEL='debug'\nFLOOM_SANDBOX\n")
    assert load_settings({}, dotenv=file).port == 9000
    settings = load_settings({"FLOOM_PORT": "9001"}, dotenv=file)
    assert (settings.port, settings.log_level, settings.sandbox) == (9001, "debug", None)


def test_a_mistake_in_the_file_is_one_in_the_settings(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("FLOOM_PORT=many\n")
    with pytest.raises(SettingsError, match="FLOOM_PORT=many"):
        load_settings({}, dotenv=file)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "floom"])
def test_a_server_that_others_can_reach_needs_a_secret(host: str) -> None:
    assert "FLOOM_SECRET" in refusal(FLOOM_HOST=host)
    assert load(FLOOM_HOST=host, FLOOM_SECRET=SECRET).sandbox_mode == "require"
    assert load(FLOOM_HOST=host, FLOOM_ALLOW_OPEN="1").sandbox_mode == "require"


def test_a_secret_of_blanks_is_none() -> None:
    assert "FLOOM_SECRET" in refusal(FLOOM_HOST="0.0.0.0", FLOOM_SECRET=" " * 20)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_loopback_needs_none(host: str) -> None:
    settings = load(FLOOM_HOST=host)
    assert settings.is_loopback
    assert settings.sandbox_mode == "best_effort"


def test_isolation_is_off_only_where_nobody_else_comes() -> None:
    assert load(FLOOM_SANDBOX="off").sandbox_mode == "off"
    message = refusal(FLOOM_SANDBOX="off", FLOOM_HOST="0.0.0.0", FLOOM_SECRET=SECRET)
    assert message.startswith("FLOOM_SANDBOX=off")


def test_a_secret_asks_for_isolation_unless_somebody_says_otherwise() -> None:
    assert load(FLOOM_SECRET=SECRET).sandbox_mode == "require"
    assert load(FLOOM_SECRET=SECRET, FLOOM_SANDBOX="best_effort").sandbox_mode == "best_effort"


@given(st.text(min_size=4, max_size=15).filter(lambda text: len(text.strip()) > 3))
def test_a_secret_is_never_shown(secret: str) -> None:
    message = refusal(FLOOM_SECRET=secret)
    assert message == "FLOOM_SECRET: must have 16 characters or more"


def test_a_secret_is_not_shown_beside_another_s_mistake_nor_by_the_settings() -> None:
    for variables in ({"FLOOM_PORT": "x"}, {"FLOOM_PUBLIC_URL": "x"}, {"FLOOM_SANDBOX": "x"}):
        assert SECRET not in refusal(FLOOM_SECRET=SECRET, **variables)
    assert SECRET not in repr(load(FLOOM_SECRET=SECRET))


def test_links_have_no_slash_at_their_end() -> None:
    assert load(FLOOM_PUBLIC_URL="https://x.example//").base_url == "https://x.example"
    assert load(FLOOM_PORT="9000").base_url == "http://localhost:9000"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load().port = 1  # type: ignore[misc]


def test_a_log_for_programs_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert load().effective_log_format == "json"
    assert load(FLOOM_LOG_FORMAT="text").effective_log_format == "text"


def test_misspelt_variables_are_told_with_the_nearest_name() -> None:
    present = {"FLOOM_PROT": "1", "FLOOM_QQQQQQQQQ": "1", "FLOOM_PORT": "1", "HOME": "/"}
    assert unknown_variables(present, dotenv=Path("/nowhere")) == [
        "FLOOM_PROT is not a setting; did you mean FLOOM_PORT?",
        "FLOOM_QQQQQQQQQ is not a setting",
    ]


def test_variables_of_installers_are_taken_and_no_others(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PIP_INDEX_URL=https://index.example\nUV_INDEX_URL=https://file.example\n")
    given = {
        "UV_INDEX_URL": "https://environment.example",
        "npm_config_registry": "https://registry.example",
        "NPM_CONFIG_CAFILE": "/ca.pem",
        "npm_config_//registry.example/:_authToken": "t",
        "HTTPS_PROXY": "http://proxy.example",
        "no_proxy": "localhost",
        "SSL_CERT_FILE": "/ca.pem",
        "NODE_EXTRA_CA_CERTS": "",
        "AWS_SECRET_ACCESS_KEY": "never",
        "NODE_OPTIONS": "never",
        "PATH": "never",
        "FLOOM_SECRET": "never, whatever it is",
        "MY_UV_INDEX": "never",
    }
    found = load_settings(given, dotenv=dotenv).installer_variables
    expected = {name: value for name, value in given.items() if value and "never" not in value}
    assert found == {**expected, "PIP_INDEX_URL": "https://index.example"}


def test_variables_of_installers_are_not_shown_by_the_settings() -> None:
    settings = load(UV_INDEX_URL="https://ada:correct-horse@index.example")
    assert settings.installer_variables
    assert "horse" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:8000", "floom@localhost"),
        ("https://floom.example.com/base", "floom@floom.example.com"),
        ("https://10.0.0.5", "floom@[10.0.0.5]"),
        ("https://[::1]:8443", "floom@[IPv6:::1]"),
        ("https://my_host.example.", "floom@my-host.example"),
    ],
)
def test_mail_comes_from_the_public_host_unless_set(url: str, address: str) -> None:
    assert load(FLOOM_PUBLIC_URL=url).mail_sender.address == address
    sender = load(FLOOM_PUBLIC_URL=url, FLOOM_MAIL_FROM="a@b.example").mail_sender
    assert sender.address == "a@b.example"


def test_the_mail_server_is_read_and_its_password_never_shown() -> None:
    settings = load(FLOOM_SMTP_URL="smtp://ada:correct%20horse@mail.example")
    server = settings.smtp_address

    assert load().smtp_address is None
    assert server is not None
    assert (server.host, server.password) == ("mail.example", "correct horse")
    assert "horse" not in repr(settings) + repr(server)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"FLOOM_PORT=8474\nFLOOM_SECRET: abcdefghijklmnop1234\n", "line 2 is not NAME=value"),
        (b"FLOOM_MAIL_FROM=\xe4@x.example\n", "UTF-8"),
    ],
)
def test_a_file_that_is_not_whole_starts_no_server(tmp_path: Path, data: bytes, said: str) -> None:
    """The line that cannot be read may hold the secret, without which a server is open."""
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(SettingsError, match=said):
        load_settings({}, dotenv=tmp_path / ".env")

"""What of the operator's variables installers get, and what is hidden of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.environments.installer_settings import (
    InstallerSettings,
    local_paths,
)

TOKEN = "npm_0123456789abcdef"


def test_uv_gets_what_says_where_packages_are_and_nothing_else() -> None:
    given = {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX_CORP_PASSWORD": "pw",
        "UV_HTTP_TIMEOUT": "10",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_PUBLISH_TOKEN": "never",
        "UV_TARGET": "/",
        "UV_CACHE_DIR": "/",
        "UV_PYTHON": "/x",
        "UV_CONFIG_FILE": "/x",
        "PIP_TARGET": "/",
        "npm_config_registry": "https://registry.example",
        "https_proxy": "http://proxy.example",
    }
    assert set(InstallerSettings(given).python) == {
        "UV_DEFAULT_INDEX", "UV_INDEX_CORP_PASSWORD", "UV_HTTP_TIMEOUT", "SSL_CERT_FILE",
    }  # fmt: skip


def test_variables_of_pip_count_where_uv_has_none_of_its_own() -> None:
    given = {
        "PIP_INDEX_URL": "https://pip.example",
        "PIP_CERT": "/ca.pem",
        "PIP_EXTRA_INDEX_URL": "https://more.example",
    }
    assert InstallerSettings(given).python == {
        "UV_DEFAULT_INDEX": "https://pip.example",
        "UV_INDEX": "https://more.example",
        "SSL_CERT_FILE": "/ca.pem",
    }
    own = InstallerSettings(
        {**given, "UV_INDEX_URL": "https://uv.example", "SSL_CERT_FILE": "/b.pem"}
    )
    assert own.python["UV_INDEX_URL"] == "https://uv.example"
    assert "UV_DEFAULT_INDEX" not in own.python
    assert own.python["SSL_CERT_FILE"] == "/b.pem"


def test_npm_gets_its_registry_and_passwords_in_the_case_that_it_reads() -> None:
    given = {
        "NPM_CONFIG_REGISTRY": "https://registry.example",
        "npm_config_//registry.example/:_authToken": TOKEN,
        "npm_config_@corp:registry": "https://corp.example",
        "npm_config_prefix": "/",
        "npm_config_script_shell": "/x",
        "npm_config_git": "/x",
        "npm_config_ignore_scripts": "false",
        "NODE_EXTRA_CA_CERTS": "/ca.pem",
        "NODE_OPTIONS": "--require /x",
    }
    assert InstallerSettings(given).node == {
        "npm_config_registry": "https://registry.example",
        "npm_config_//registry.example/:_authToken": TOKEN,
        "npm_config_@corp:registry": "https://corp.example",
        "NODE_EXTRA_CA_CERTS": "/ca.pem",
    }


def test_hosts_of_indexes_are_known_with_their_ports() -> None:
    given = {
        "UV_INDEX": "corp=https://u:p@Index.example/simple https://files.example:8443/",
        "UV_FIND_LINKS": "/wheels http://plain.example/x",
        "npm_config_registry": "http://127.0.0.1:4873/",
    }
    settings = InstallerSettings(given)
    assert settings.python_hosts == (
        "index.example:443", "files.example:8443", "plain.example:80",
    )  # fmt: skip
    assert settings.node_hosts == ("127.0.0.1:4873",)
    assert InstallerSettings({"UV_INDEX_URL": "https://[bad/"}).python_hosts == ()
    assert InstallerSettings({"UV_INDEX_URL": "http://[fd00::5]/"}).python_hosts == (
        "[fd00::5]:80",
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"UV_DEFAULT_INDEX": "https://ada:correct-horse@index.example/simple"},
        {"UV_DEFAULT_INDEX": "https://ada:correct%2Dhorse@index.example/simple"},
        {"PIP_EXTRA_INDEX_URL": "https://one.example https://correct-horse@index.example/"},
        {"UV_INDEX_CORP_PASSWORD": "correct-horse"},
        {"npm_config_//registry.example/:_authToken": "correct-horse"},
        {"npm_config_//registry.example/:_password": "correct-horse"},
        {"https_proxy": "http://ada:correct-horse@proxy.example"},
    ],
)
def test_passwords_are_hidden_in_every_form(variables: dict[str, str]) -> None:
    mask = InstallerSettings(variables).mask
    for text in ("correct-horse", next(iter(variables.values()))):
        assert "horse" not in mask.text(f"GET {text} failed")


def test_whether_uv_is_given_a_password() -> None:
    with_one = {"UV_DEFAULT_INDEX": "https://ada:pw@index.example"}
    assert InstallerSettings(with_one).python_has_credentials
    assert InstallerSettings({"UV_INDEX_CORP_PASSWORD": "pw"}).python_has_credentials
    assert not InstallerSettings(
        {"UV_DEFAULT_INDEX": "https://index.example"}
    ).python_has_credentials
    assert not InstallerSettings({"https_proxy": "http://a:b@proxy.example"}).python_has_credentials


def test_settings_show_no_password_of_themselves() -> None:
    assert "horse" not in repr(InstallerSettings({"UV_INDEX_URL": "https://a:horse@x.example"}))


def test_files_that_settings_name_are_found(tmp_path: Path) -> None:
    wheels, ca = tmp_path / "wheels", tmp_path / "ca.pem"
    wheels.mkdir()
    ca.write_text("")
    found = local_paths(
        {
            "A": f"{wheels} https://x.example/",
            "B": f"file://{wheels}",
            "C": str(ca),
            "D": "/",
            "E": "/not/there",
            "F": "5",
        }
    )
    assert {path.replace("//", "/").replace("//", "/") for path in found} == {str(wheels), str(ca)}


def test_proxies_are_read_in_either_case() -> None:
    given = {"HTTPS_PROXY": "http://a.example", "http_proxy": "http://b.example", "NO_PROXY": "c"}
    assert InstallerSettings(given).proxies == {
        "https": "http://a.example",
        "http": "http://b.example",
        "no": "c",
    }

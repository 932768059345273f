"""What travels to the gate, and what the worker is told."""

import json
from dataclasses import asdict

from lib.sandbox.gate.settings import GateSettings, api_variables, proxy_variables


def test_settings_survive_json():
    settings = GateSettings("run_x", "/a/b.sock", ("*:443",), 500_001, "a.module",
                            ("index.corp:443",), {"https": "http://proxy.corp"}, "Name it.")  # fmt: skip

    assert GateSettings.load(json.loads(json.dumps(asdict(settings)))) == settings
    assert GateSettings.load(json.loads(json.dumps(asdict(GateSettings("r"))))) == GateSettings("r")


def test_the_password_of_the_operators_proxy_is_not_shown():
    assert "secret" not in repr(GateSettings("run_x", proxies={"all": "http://a:secret@b"}))


def test_variables_of_the_proxy():
    variables = proxy_variables(3128)

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        assert variables[name] == "http://127.0.0.1:3128"
    assert variables["NO_PROXY"] == variables["no_proxy"] == "127.0.0.1,localhost"
    assert variables["NODE_USE_ENV_PROXY"] == "1"


def test_variables_of_the_api():
    url = "http://127.0.0.1:8000"

    assert api_variables(8000) == {"FLOOM_API_URL": url, "WORKEROS_API_URL": url}

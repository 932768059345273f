"""What travels to the gate, and what the worker is told."""

from lib.sandbox.gate.settings import GateSettings, api_variables, proxy_variables


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

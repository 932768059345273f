"""A small resource behind the real kernel, in process or on a loopback port."""

import pytest
from falcon import testing

from lib.auth.authenticator import Authenticator
from lib.auth.principal import Role
from lib.clock import ManualClock
from lib.web.app import create_app
from lib.web.shutdown import Shutdown
from tests.lib.web.serving import Served
from tests.lib.web.things import SECRET, Things, routes_of


class Client:
    """Simulated requests with a fit host, and the secret unless `bare`."""

    def __init__(self, app, headers):
        self.app = app
        self.headers = headers

    def __call__(self, method, path, headers=None, **given):
        return testing.simulate_request(
            self.app,
            method,
            path,
            host="localhost",
            headers=self.headers | (headers or {}),
            **given,
        )


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def things(clock):
    return Things(clock)


@pytest.fixture
def routes(things):
    return routes_of(things)


@pytest.fixture
def shutdown():
    return Shutdown()


@pytest.fixture
def make_app(routes, clock, shutdown):
    def make(**given):
        role = given.pop("role", Role.MEMBER)
        settings = {
            "public_url": "https://floom.example:8443",
            "shutdown": shutdown,
            "clock": clock,
            "authenticator": Authenticator(
                secret=given.pop("secret", SECRET), shared_secret_role=role
            ),
        } | given
        return create_app(settings.pop("routes", routes), **settings)

    return make


@pytest.fixture
def client(make_app):
    return Client(make_app(), {"x-floom-secret": SECRET})


@pytest.fixture
def bare(make_app):
    return Client(make_app(), {})


@pytest.fixture
def client_of(make_app):
    def make(headers=None, **given):
        return Client(make_app(**given), {"x-floom-secret": SECRET} if headers is None else headers)

    return make


@pytest.fixture
def served(make_app, shutdown):
    server = Served(make_app(), shutdown)
    yield server
    server.stop()

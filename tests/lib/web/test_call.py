"""What a responder is given: waiting for a change."""

import asyncio

from lib.web.access import Access
from lib.web.operation import operation
from lib.web.route import Route
from tests.lib.web.things import Options


class Waiting:
    """Waits for what fails by a time limit of its own."""

    @operation("wait", access=Access.MEMBER, summary="Wait", responses={200: Options})
    async def on_get(self, call):
        async def fail():
            await asyncio.sleep(0)
            raise TimeoutError

        return Options(force=await call.wait(fail(), seconds=60))


def test_a_time_limit_of_somebody_else_s_is_no_end_of_the_wait(client_of):
    call = client_of(routes=[Route("/waiting", Waiting())])
    assert call("GET", "/waiting").status_code == 500

"""Frames of server-sent events."""

import pytest

from lib.web.sse import ServerEvent


@pytest.mark.parametrize(
    ("event", "frame"),
    [
        (ServerEvent("7", "log", {"a": "é"}), 'id: 7\nevent: log\ndata: {"a":"é"}\n\n'),
        (ServerEvent(None, "end", None), "event: end\ndata: null\n\n"),
        (ServerEvent("1", "t", "a\nb\r\nc\rd"), "id: 1\nevent: t\ndata: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerEvent("1", "t", ""), "id: 1\nevent: t\ndata: \n\n"),
        (ServerEvent("1\nid: 2", "t\r\nevent: x", "d"), "id: 1 id: 2\nevent: t event: x\ndata: d\n\n"),
        (ServerEvent("1\0", "t", "a\u2028b"), "id: 1\nevent: t\ndata: a\u2028b\n\n"),
    ],
)  # fmt: skip
def test_a_frame_cannot_be_broken_out_of(event, frame):
    assert event.render().decode() == frame

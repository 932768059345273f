"""CommonMark as HTML that can do nothing: no raw HTML, images or odd links."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)
_LINK_ATTRIBUTES: Final = {"rel": "noopener nofollow noreferrer", "target": "_blank"}
_SMALLEST_HEADING: Final = 6
# What is nested deeper, the parser drops: nobody would see it.
_MAX_NESTING: Final = 40
# The page has one h1, and each of its parts an h2.
_HEADINGS_BELOW: Final = 2


class TooDeep(ValueError):
    """The text is nested so deeply that a part of it would not be shown."""


def to_html(text: str) -> str:
    """Return a text in Markdown as HTML.

    An image becomes its alternative text. Links lead to http, https and mailto
    only, in a new window, so that what was typed on the page is not lost.

    Raises:
        TooDeep: it is nested so deeply that a part of it would be missing.
    """
    parser = _parser()
    tokens = parser.parse(text)
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):
        raise TooDeep
    _tame(tokens)
    return str(parser.renderer.render(tokens, parser.options, {}))


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _MAX_NESTING}).enable("table")
    parser.validateLink = _is_allowed  # type: ignore[method-assign]  # its documented way
    parser.add_render_rule("image", _alternative)
    parser.add_render_rule("fence", _code)
    return parser


def _is_allowed(url: str) -> bool:
    return _LINK.match(url) is not None


def _alternative(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any
) -> str:
    children = tokens[at].children or []
    return escape(self.renderInlineAsText(children, options, env))


def _code(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, _env: Any) -> str:
    return f"<pre><code>{escape(tokens[at].content)}</code></pre>\n"


def _tame(tokens: Sequence[Token]) -> None:
    """Keep of the attributes those of links and lists, and put headings below the page's."""
    for token in tokens:
        if token.tag[:1] == "h" and token.tag[1:].isdigit():
            token.tag = f"h{min(int(token.tag[1:]) + _HEADINGS_BELOW, _SMALLEST_HEADING)}"
        token.attrs = _attributes(token)
        _tame(token.children or [])


def _attributes(token: Token) -> dict[str, str | int | float]:
    if token.type == "link_open":
        return {"href": token.attrs.get("href", ""), **_LINK_ATTRIBUTES}
    return {name: value for name, value in token.attrs.items() if name == "start"}

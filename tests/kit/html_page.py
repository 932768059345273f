"""A page as a browser would read it: its elements, texts and forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode

_ONE_LINE = str.maketrans("", "", "\r\n")


@dataclass
class Element:
    """A start tag, and the text up to its end tag."""

    tag: str
    attributes: dict[str, str]
    text: str = ""

    @property
    def is_selected(self) -> bool:
        return "selected" in self.attributes


@dataclass
class Form:
    """A form's controls that are sent, by name."""

    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)

    def encoded(self, changes: Mapping[str, str] | None = None) -> bytes:
        """Return the body that a browser sends: CR LF at line ends."""
        sent = {**self.values, **(changes or {})}
        assert sent.keys() == self.values.keys()
        return urlencode(
            {name: value.replace("\n", "\r\n") for name, value in sent.items()}
        ).encode()


class HtmlPage(HTMLParser):
    """All elements of a page, in order."""

    def __init__(self, html: str | bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.forms: list[Form] = []
        self.text = ""
        self._open: list[Element] = []
        text = html if isinstance(html, str) else html.decode()
        # As a browser does before it reads (HTML, preprocessing the input stream).
        self.feed(text.replace("\r\n", "\n").replace("\r", "\n"))
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        self._open.append(element)
        if tag == "form":
            self.forms.append(Form(element.attributes["action"], element.attributes["method"]))
        if tag == "input":
            value = element.attributes["value"].translate(_ONE_LINE)
            self.forms[-1].values[element.attributes["name"]] = value

    def handle_data(self, data: str) -> None:
        self.text += data
        for element in self._open:
            element.text += data

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            element = self._open.pop()
            if element.tag == tag:
                break
        else:
            return
        if tag == "textarea":
            element.text = element.text.removeprefix("\n")
            self.forms[-1].values[element.attributes["name"]] = element.text
        if tag == "select":
            inside = self.elements[self.elements.index(element) + 1 :]
            chosen = [each for each in inside if each.tag == "option" and each.is_selected]
            assert len(chosen) == 1
            self.forms[-1].values[element.attributes["name"]] = chosen[0].attributes["value"]

    def all(self, tag: str) -> list[Element]:
        return [each for each in self.elements if each.tag == tag]

    def by_id(self, key: str) -> Element:
        (found,) = (each for each in self.elements if each.attributes.get("id") == key)
        return found

"""requirements.txt: what is understood, and what a worker's author must not be able to ask."""

from __future__ import annotations

import pytest

from lib.environments.recipe import MAX_FILE_BYTES, InstallError, Recipe
from lib.environments.requirements_file import read_requirements

HASH = "sha256:" + "a" * 64
OTHER_HASH = "sha256:" + "b" * 64


def read(text: str | bytes, *, source_builds: bool = False) -> Recipe | None:
    data = text if isinstance(text, bytes) else text.encode()
    return read_requirements(data, source_builds=source_builds)


def lines(text: str) -> list[str]:
    found = read(text)
    assert found is not None
    return found.files["requirements.txt"].splitlines()


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n  # yet\n", "\ufeff\n", "--pre\n"])
def test_a_file_that_names_nothing_needs_no_environment(text: str) -> None:
    assert read(text) is None


def test_comments_order_and_spelling_make_no_other_environment() -> None:
    one = read("Requests >= 2  # the usual\nPyYAML==6.0\n")
    other = read("# why\r\npyyaml==6.0\r\n\r\nrequests>=2\r\nrequests>=2\r\n")
    assert one == other


def test_markers_extras_and_ranges_are_kept() -> None:
    text = "httpx[http2,socks] >=0.27, <1 ; python_version >= '3.9'\n"
    assert lines(text) == ['httpx[http2,socks]<1,>=0.27; python_version >= "3.9"']


def test_continued_lines_and_hashes_are_one_requirement() -> None:
    text = f"one==1.0 \\\n    --hash={HASH} \\\n    --hash={OTHER_HASH}  # two files\ntwo==2 --hash={HASH}\n"
    found = read(text)
    assert found is not None
    assert found.is_pinned
    assert found.files["requirements.txt"].splitlines() == [
        f"one==1.0 --hash={HASH} --hash={OTHER_HASH}",
        f"two==2 --hash={HASH}",
    ]


def test_hashes_may_be_required_in_words() -> None:
    found = read("--require-hashes\none==1\n")
    assert found is not None
    assert found.is_pinned


def test_prereleases_make_another_environment() -> None:
    one, other = read("one\n"), read("--pre\none\n")
    assert one is not None
    assert other is not None
    assert other.prereleases
    assert one.key({}) != other.key({})


def test_tools_and_source_builds_make_another_environment() -> None:
    plain, built = read("one\n"), read("one\n", source_builds=True)
    assert plain is not None
    assert built is not None
    keys = {plain.key({}), built.key({}), plain.key({"python": "3.12"}), plain.key({"uv": "1"})}
    assert len(keys) == 4


REFUSED = {
    "-r other.txt": "another file",
    "-rother.txt": "another file",
    "-r /etc/passwd": "another file",
    "--requirement=other.txt": "another file",
    "-c constraints.txt": "another file",
    "--constraint constraints.txt": "another file",
    "-e .": "folder",
    "-e git+https://example.com/x.git#egg=x": "folder",
    "--editable=/srv/x": "folder",
    "-i https://evil.example/simple": "index",
    "--index-url https://evil.example/simple": "index",
    "--index-url=https://evil.example/simple": "index",
    "--extra-index-url https://evil.example/simple": "index",
    "--find-links /var/secret": "index",
    "-f https://evil.example/": "index",
    "--no-index": "index",
    "--trusted-host evil.example": "index",
    "--no-binary :all:": "source_builds",
    "--only-binary=:none:": "source_builds",
    "--config-settings=x=y": "not supported",
    "--pre --index-url https://evil.example": "not supported",
    "-": "not supported",
    "./local": "address",
    "../../secret": "address",
    "/etc/passwd": "address",
    "~/package": "address",
    "file:///etc/passwd": "address",
    "name @ file:///etc/passwd": "address",
    "name@https://evil.example/name-1-py3-none-any.whl": "address",
    "https://evil.example/name-1-py3-none-any.whl": "address",
    "https://${TOKEN}@evil.example/x.whl": "address",
    "git+ssh://git@example.com/x.git": "address",
    "name @ git+https://example.com/x.git": "address",
    "name-1.0-py3-none-any.whl": "address",
    "name-1.0.tar.gz": "address",
    "C:\\secret": "address",
    "name==${SECRET}": "`$`",
    "${SECRET}": "`$`",
    "name; sys_platform == '$HOME'": "`$`",
    "name ==": "not understood",
    "two words": "not understood",
    "name==1.0 --install-option=--prefix=/": "not supported",
    "name==1.0 --global-option=build": "not supported",
    "name==1.0 --config-settings=x=y": "not supported",
    f"name==1.0 --hash={HASH} --index-url=https://evil.example": "not supported",
    "name==1.0 --hash=md5:0123": "not supported",
    "name==1.0 --hash=sha256:zz": "not supported",
}


@pytest.mark.parametrize("line", REFUSED)
def test_whatever_reaches_beyond_the_index_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(InstallError) as caught:
        read(f"fine==1.0\n# comment\n{line}\n")
    assert "line 3" in str(caught.value)
    assert REFUSED[line] in str(caught.value)


def test_an_option_hidden_behind_a_continuation_is_seen() -> None:
    with pytest.raises(InstallError, match=r"line 1"):
        read("\\\n--index-url https://evil.example\nfine\n")
    with pytest.raises(InstallError):
        read("fine \\\n--index-url=https://evil.example\n")


def test_a_comment_ends_with_its_line_also_behind_a_backslash() -> None:
    assert lines("one # \\\ntwo\n") == ["one", "two"]


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_what_only_some_take_for_an_end_of_line_hides_nothing(separator: str) -> None:
    with pytest.raises(InstallError):
        read(f"fine{separator}--index-url https://evil.example\n")


def test_a_file_that_is_too_large_or_no_text_is_refused() -> None:
    with pytest.raises(InstallError, match="larger"):
        read(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(InstallError, match="UTF-8"):
        read(b"\xff\xfeo\x00n\x00e\x00")

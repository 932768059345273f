"""The forms of ids in paths."""

import pytest

from lib.errors import MalformedRequest
from lib.web import path_ids

RUN = "run_01jd0000000000000000000000"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run_id", RUN),
        ("worker_id", "hello-world_2"),
        ("worker_id", "a"),
        ("issue_id", "ISSUE-0001"),
        ("issue_id", "ISSUE-12345"),
        ("user_id", "local-user"),
        ("user_id", RUN.replace("run_", "usr_")),
        ("token", "anything at all"),
    ],
)
def test_fit_ids_and_parameters_without_a_form_pass(name, value):
    path_ids.check({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run_id", ""),
        ("run_id", "run_"),
        ("run_id", RUN.upper()),
        ("run_id", RUN + "\n"),
        ("run_id", RUN + "0"),
        ("run_id", RUN.replace("run_", "apr_")),
        ("run_id", RUN.replace("01jd", "81jd")),
        ("worker_id", "-a"),
        ("worker_id", "A"),
        ("worker_id", "a/b"),
        ("worker_id", "a" * 65),
        ("worker_id", "a\n"),
        ("issue_id", "ISSUE-1"),
        ("issue_id", "issue-0001"),
        ("issue_id", "ISSUE-\u0660\u0660\u0660\u0661"),
        ("upload_id", "upl_\0"),
    ],
)
def test_other_forms_are_malformed(name, value):
    with pytest.raises(MalformedRequest, match=name):
        path_ids.check({name: value})

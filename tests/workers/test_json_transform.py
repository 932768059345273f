"""json-transform: declarative operations on JSON, in Node."""

from __future__ import annotations

import json
import shutil

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="json-transform is a Node worker and node is not installed"
)

PEOPLE = [
    {"name": "Ada", "born": 1815, "address": {"city": "London"}, "tags": ["maths", "code"]},
    {"name": "Emmy", "born": 1882, "address": {"city": "Erlangen"}, "tags": ["maths"]},
    {"name": "Grace", "born": 1906, "address": {"city": "New York"}, "tags": []},
    {"name": "Zoë", "born": None, "address": None, "tags": ["code"]},
]


@pytest.fixture
def transform(launcher):
    def run(data, *operations):
        done = launcher("json-transform")({"data": data, "operations": list(operations)})
        assert done.outputs["result"] == "out/result.json"
        return json.loads(done.text("out/result.json"))

    return run


@pytest.fixture
def refuse(launcher):
    def run(data, *operations):
        done = launcher("json-transform")({"data": data, "operations": list(operations)})
        assert done.error["code"] == "invalid_operation"
        return done.error["message"]

    return run


def names(people):
    return [person["name"] for person in people]


def test_no_operations_give_the_value_back(transform):
    assert transform(PEOPLE) == PEOPLE


def test_operations_apply_in_order(transform):
    result = transform(
        PEOPLE,
        {"op": "filter", "field": "born", "is": "exists"},
        {"op": "sort", "by": "born", "order": "descending"},
        {"op": "pick", "fields": ["name", "address.city"]},
        {"op": "rename", "fields": {"address.city": "city"}},
        {"op": "limit", "count": 2},
    )

    assert result == [{"name": "Grace", "city": "New York"}, {"name": "Emmy", "city": "Erlangen"}]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"field": "name", "value": "Ada"}, ["Ada"]),
        ({"field": "name", "is": "ne", "value": "Ada"}, ["Emmy", "Grace", "Zoë"]),
        ({"field": "born", "is": "lt", "value": 1882}, ["Ada"]),
        ({"field": "born", "is": "gte", "value": 1882}, ["Emmy", "Grace"]),
        ({"field": "tags", "is": "contains", "value": "code"}, ["Ada", "Zoë"]),
        ({"field": "name", "is": "contains", "value": "m"}, ["Emmy"]),
        ({"field": "name", "is": "in", "value": ["Zoë", "Ada"]}, ["Ada", "Zoë"]),
        ({"field": "born", "is": "exists", "value": False}, ["Zoë"]),
        ({"field": "address", "value": {"city": "London"}}, ["Ada"]),
        ({"field": "address.city", "value": "London"}, ["Ada"]),
        ({"field": "born", "is": "lt", "value": "1900"}, []),
        ({"field": "born", "value": None}, ["Zoë"]),
    ],
)
def test_filter(transform, test, expected):
    assert names(transform(PEOPLE, {"op": "filter", **test})) == expected


def test_sort_is_stable_and_puts_absent_last_either_way(transform):
    rows = [{"n": 2, "name": "a"}, {"name": "b"}, {"n": 1, "name": "c"}, {"n": 2, "name": "d"}]

    assert names(transform(rows, {"op": "sort", "by": "n"})) == ["c", "a", "d", "b"]


def test_sort_descending_keeps_absent_last(transform):
    rows = [{"name": "b"}, {"n": 1, "name": "c"}, {"n": "x", "name": "s"}, {"n": 2, "name": "d"}]

    assert names(transform(rows, {"op": "sort", "by": ["n"], "order": "descending"})) == [
        "s",
        "d",
        "c",
        "b",
    ]


def test_group_counts_and_adds_up(transform):
    rows = [{"c": "DE", "t": 1}, {"c": "FR", "t": 2.5}, {"c": "DE", "t": 3}, {"t": "4"}]

    assert transform(
        rows, {"op": "group", "by": "c", "sum": "t", "average": "t", "min": "t", "max": "t"}
    ) == [
        {"c": "DE", "count": 2, "sum_t": 4, "average_t": 2, "min_t": 1, "max_t": 3},
        {"c": "FR", "count": 1, "sum_t": 2.5, "average_t": 2.5, "min_t": 2.5, "max_t": 2.5},
        {"c": None, "count": 1, "sum_t": 0, "average_t": None, "min_t": None, "max_t": None},
    ]


def test_count_unique_and_get(transform):
    data = {"rows": {"items": [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}]}}

    assert (
        transform(data, {"op": "get", "path": "rows.items"}, {"op": "unique"}, {"op": "count"}) == 2
    )


def test_flatten_and_explode(transform):
    row = {"a": {"b": [1, {"c": 2}], "d": {}}, "e": [10, 20]}

    assert transform([row], {"op": "explode", "field": "e"}, {"op": "flatten"}) == [
        {"a.b.0": 1, "a.b.1.c": 2, "a.d": {}, "e": 10},
        {"a.b.0": 1, "a.b.1.c": 2, "a.d": {}, "e": 20},
    ]


def test_omit_works_on_one_object_too(transform):
    assert transform({"a": 1, "b": 2}, {"op": "omit", "fields": "a"}) == {"b": 2}


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([{"op": "pick", "fields": ["name"]}, {"op": "explore"}], 'operations[1] (explore): "op"'),
        ([{"op": "sort", "by": "name"}, {"op": "limit"}], 'operations[1] (limit): "count"'),
        ([{"op": "sort", "by": 5}], 'operations[0] (sort): "by"'),
        ([{"op": "sort", "by": "n", "desc": 1}], 'operations[0] (sort): does not know "desc"'),
        ([{"op": "count"}, {"op": "sort", "by": "n"}], "operations[1] (sort): needs a list"),
        ([{"op": "filter", "field": "n", "is": "like", "value": 1}], "operations[0] (filter)"),
        ([{"op": "filter", "field": "n", "is": "in", "value": 1}], "operations[0] (filter)"),
        ([{"op": "filter", "field": "n"}], "operations[0] (filter)"),
        ([{"op": "rename", "fields": {"born": "name"}}], "operations[0] (rename): two fields"),
        ([{"op": "rename", "fields": ["a"]}], "operations[0] (rename)"),
        ([{"op": "limit", "count": -1}], "operations[0] (limit)"),
        ([{"op": "get", "path": "a.b"}], "operations[0] (get): there is nothing"),
        ([{"op": "__proto__"}], "operations[0] (__proto__)"),
        ([{"op": "constructor"}], "operations[0] (constructor)"),
        ([{"fields": []}], "operations[0]:"),
        (["sort"], "operations[0]: must be an object"),
        ([None], "operations[0]: must be an object"),
    ],
)
def test_errors_name_the_operation(refuse, operations, message):
    assert message in refuse(PEOPLE, *operations)


def test_errors_name_the_item_that_does_not_fit(refuse):
    message = refuse([{"a": 1}, 5], {"op": "pick", "fields": "a"})

    assert message == "operations[0] (pick): item 1 is a number, not an object"


@pytest.mark.parametrize("operations", [None, {}, "sort", 5, [{"op": "count"}] * 101])
def test_operations_must_be_a_short_list(launcher, operations):
    done = launcher("json-transform")({"data": [], "operations": operations})

    assert done.error["code"] == "invalid_operation"


def test_fields_named_like_prototypes_are_ordinary(transform):
    rows = [{"__proto__": {"polluted": True}, "constructor": 1, "toString": 2}]

    result = transform(
        rows,
        {"op": "rename", "fields": {"constructor": "hasOwnProperty"}},
        {"op": "pick", "fields": ["__proto__", "hasOwnProperty", "valueOf"]},
        {"op": "group", "by": "hasOwnProperty"},
    )

    assert result == [{"hasOwnProperty": 1, "count": 1}]


def test_integers_that_cannot_be_kept_are_reported(launcher):
    done = launcher("json-transform")({"data": [2**60 + 1], "operations": []})

    assert done.outputs["count"] == 1
    assert "1 integers are beyond 2^53" in done.stderr


def test_numbers_out_of_range_are_refused(launcher):
    launch = launcher("json-transform")
    launch.files["inputs.json"] = b'{"data": [1e999], "operations": []}'

    assert "out of range" in launch({}).error["message"]


def test_nesting_too_deep_to_flatten_is_an_error(refuse):
    data = json.loads('{"a":' * 300 + "1" + "}" * 300)

    assert "nested deeper" in refuse(data, {"op": "flatten"})


def test_explode_is_bounded(refuse):
    rows = [{"x": [1] * 1000, "y": [1] * 1000, "z": [1] * 100}]

    message = refuse(rows, *({"op": "explode", "field": key} for key in "xyz"))

    assert message.startswith("operations[2] (explode): gives more than")


def test_a_long_value_has_no_preview(launcher):
    done = launcher("json-transform")({"data": ["x" * 30_000], "operations": []})

    assert "preview" not in done.outputs


def test_a_hundred_thousand_items(transform):
    rows = [{"k": at % 100, "v": at} for at in range(100_000)]

    result = transform(
        rows, {"op": "group", "by": "k", "sum": "v"}, {"op": "sort", "by": "k"}, {"op": "count"}
    )

    assert result == 100

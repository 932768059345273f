"""Inputs and outputs: what a run is given and what it must give back."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, GetJsonSchemaHandler, StringConstraints, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from lib.manifest.fields import (
    Between,
    DataPath,
    Identifier,
    Items,
    Json,
    Line,
    Part,
    Scalar,
)

ValueType = Literal[
    "string",
    "text",
    "textarea",
    "number",
    "integer",
    "boolean",
    "select",
    "url",
    "email",
    "date",
    "datetime",
    "json",
    "markdown",
    "csv",
]
ValueKind = Literal["scalar", "file"]

TEXT_TYPES: Final = frozenset({"string", "text", "textarea", "markdown", "csv"})
RESERVED_INPUTS: Final = frozenset({"decision", "approved_output", "review_feedback", "event"})

_HELP = Annotated[str, StringConstraints(max_length=2_000)]
_PLACEHOLDER = Annotated[str, StringConstraints(max_length=500)]


def choice_label(value: object) -> str:
    """Return what people read for a choice that has no label of its own."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[:200] or "(empty)"


class Option(Part):
    """One choice of a select; a value alone is its own label."""

    value: Scalar = Field(description="What the worker receives.")
    label: Line = Field("", description="What people read.", validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def _with_label(cls, written: Any) -> Any:
        if isinstance(written, (str, int, float)):
            return {"value": written, "label": choice_label(written)}
        if isinstance(written, dict) and "label" not in written and "value" in written:
            return {**written, "label": choice_label(written["value"])}
        return written

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow the value alone."""
        return {"anyOf": [{"type": ["string", "number", "boolean"]}, handler(schema)]}


class Bounds(Part):
    """Limits of a number's value or of a text's length in characters."""

    minimum: float | None = Field(None, description="Lowest number.")
    maximum: float | None = Field(None, description="Highest number.")
    min_length: Annotated[int, Between(0)] | None = Field(None, description="Fewest characters.")
    max_length: Annotated[int, Between(0)] | None = Field(None, description="Most characters.")


class ValueSpec(Part):
    """What inputs and outputs have in common.

    After loading, `enum` and `options` always agree: the values, and the
    same values with their labels. Both are empty where any value may stand.
    """

    name: Identifier = Field(description="Key in inputs.json or result.json.", examples=["who"])
    kind: ValueKind = Field(
        "scalar",
        description="A value, or a file in the run's folder. Without it: a file if any key of "
        "files (path, media_type, accepts, max_size_mb, columns, json_required_keys) is set.",
    )
    type: ValueType = Field("string", description="Type of the value, or what a file holds.")
    label: Line | None = Field(None, description="Shown instead of the name.")
    description: _HELP | None = Field(None, description="Help for whoever fills it in or reads it.")
    required: bool = Field(False, description="Whether a run fails without it.")
    enum: Items[Scalar] = Field((), description="The allowed values.")
    options: Items[Option] = Field((), description="The allowed values, each with a label.")
    bounds: Bounds = Field(Bounds(), description="Limits of the value.")
    format: Line | None = Field(None, description="A hint for forms; not checked.")
    examples: Items[Json] = Field((), description="Values to show; not checked.")
    media_type: Line | None = Field(
        None, description="Media type of a file.", examples=["text/csv"]
    )
    path: DataPath | None = Field(
        None,
        description="Where a file stands, relative to the run's folder.",
        examples=["out/report.csv"],
    )
    max_size_mb: Annotated[float, Between(0.001, 100)] | None = Field(
        None, description="Largest size of a file, in MiB."
    )
    columns: Items[Line] = Field((), description="Columns that a CSV file must have.")
    json_required_keys: Items[Line] = Field((), description="Keys that a JSON file must have.")

    @property
    def is_file(self) -> bool:
        """Whether the value is a file."""
        return self.kind == "file"

    @property
    def title(self) -> str:
        """The label, or the name where there is none."""
        return self.label or self.name


class InputSpec(ValueSpec):
    """One input of a worker."""

    placeholder: _PLACEHOLDER | None = Field(None, description="Grey text in an empty field.")
    default: Json = Field(None, description="Used when no value is given; of the input's type.")
    accepts: Items[Line] = Field(
        (), description="Media types or suffixes of a file.", examples=[["text/csv", ".csv"]]
    )

    @property
    def is_reserved(self) -> bool:
        """Whether the engine sets this input and callers may not."""
        return self.name in RESERVED_INPUTS

    @property
    def must_be_given(self) -> bool:
        """Whether a caller has to give a value."""
        return self.required and self.default is None and not self.is_reserved


class OutputSpec(ValueSpec):
    """One output of a worker. A file's `path` is always set after loading."""

"""What is wrong with a value is said in plain words, whatever pydantic calls it."""

import re
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from hpcq import wording
from hpcq.engine.spec import JobSpec

CONTEXT: dict[str, Any] = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "multiple_of"), 7),
    **dict.fromkeys(("min_length", "max_length", "actual_length", "max_digits", "decimal_places", "whole_digits"), 7),
    **dict.fromkeys(("tz_expected", "tz_actual", "expected_version"), 7),
}
THEIRS = re.compile(r"\b([Ii]nput|[Ss]hould|permitted|dictionary|mapping|integer|string|Value error|Assertion)\b")


def details(kind: Any, value: Any = "found") -> ErrorDetails:
    """An error of this type, with all that its message needs."""
    context: dict[str, Any] = {}
    while True:
        lines: list[InitErrorDetails] = [{"type": kind, "loc": ("field",), "input": value, "ctx": context}]
        try:
            return ValidationError.from_exception_data("Model", lines).errors(include_url=False)[0]
        except TypeError as needs:
            name = str(needs).partition(": '")[2].partition("' required")[0]
            context[name] = CONTEXT.get(name, "something")


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_every_error_that_pydantic_knows_is_said_in_our_words(kind: str) -> None:
    words = wording.said(details(kind))
    assert not THEIRS.search(words), words


@pytest.mark.parametrize("kind", wording.EXPECTED)
def test_the_table_names_only_what_pydantic_knows(kind: str) -> None:
    assert kind in get_args(ErrorType)
    assert "{" not in wording.expected(details(kind))


class Sample(BaseModel):
    size: int = Field(ge=1, default=1)
    name: str = Field(min_length=1, max_length=5, default="x")
    items: list[int] = Field(min_length=1, max_length=2, default=[1])
    path: str = "x"

    @field_validator("path")
    @classmethod
    def _relative(cls, path: str) -> str:
        if path.startswith("/"):
            raise AssertionError("must not begin with /")
        if path.startswith("-"):
            raise PydanticCustomError("option", "an option is no path")
        if path.startswith("."):
            raise PydanticCustomError("too_long", "borrowed, without its context")
        return path


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("size", 0, "must be at least 1; found 0"),
        ("size", "a", 'must be a whole number; found "a"'),
        ("size", 1.5, "must be a whole number; found 1.5"),
        ("size", None, "must be a whole number; found null"),
        ("size", [1, 2], "must be a whole number; found a list of 2"),
        ("size", {"a": 1}, "must be a whole number; found an object of 1"),
        ("size", object(), "must be a whole number; found something of type object"),
        ("name", "", 'must not be empty; found ""'),
        ("name", "x" * 61, "must have at most 5 characters; found 61 characters"),
        ("name", "x\n\x1b[1mx", 'must have at most 5 characters; found "x\\n\\u001b[1mx"'),
        ("name", True, "must be text; found true"),
        ("items", [], "must not be empty; found a list of 0"),
        ("items", [1, 2, 3], "must have at most 2 items; found a list of 3"),
        ("path", "/etc", "must not begin with /"),
        ("path", "-x", "an option is no path"),
        ("path", "..", 'borrowed, without its context; found ".."'),
    ],
)
def test_it_says_what_must_be_there_and_what_was_found(field: str, value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate({field: value})
    assert [wording.said(problem) for problem in caught.value.errors(include_url=False)] == [words]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"params": {}}, "is required"),
        ({"nmae": 1}, "there is no such field"),
        ({"depends_on": [{"job": "5" * 32, "on": "end"}]}, 'must be one of success, failure or any; found "end"'),
        ({"timeout_s": 1e12}, "must be at most 315360000; found 1000000000000.0"),
        ({"org_id": "a b"}, 'must match ^[A-Za-z0-9_.:-]{1,100}$; found "a b"'),
    ],
    ids=str,
)
def test_a_limit_and_a_choice_are_written_as_people_write_them(fields: dict[str, Any], words: str) -> None:
    spec = {"params": {}, **fields} if "params" in fields else {"queue": "noop", "params": {}, **fields}
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(spec)
    assert [wording.said(problem) for problem in caught.value.errors(include_url=False)] == [words]

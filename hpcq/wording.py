"""What is wrong with a value, in plain words: what it must be, and what was found. Pydantic has words of its own."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

SHOWN = 60  # characters of a found text; a longer one is counted

# By pydantic's type of the error; {name} is what its context says. What is not here is said in pydantic's own words.
EXPECTED: Mapping[str, str] = {
    "missing": "is required",
    "extra_forbidden": "there is no such field",
    "invalid_key": "the names of fields must be text",
    "none_required": "must be null",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dataclass_type": "must be an object",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "frozen_dict_type": "must be an object",
    "ordered_dict_type": "must be an object",
    "counter_type": "must be an object",
    "arguments_type": "must be a list or an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "named_tuple_type": "must be a list or an object",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "deque_type": "must be a list",
    "iterable_type": "must be a list",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "string_not_ascii": "must be ASCII text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "bytes_type": "must be text",
    "bytes_too_short": "must have at least {min_length} bytes",
    "bytes_too_long": "must have at most {max_length} bytes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "fraction_type": "must be a number",
    "fraction_parsing": "must be a number",
    "complex_type": "must be a number",
    "complex_str_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "union_tag_invalid": "its {discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "must have the field {discriminator}",
    "datetime_type": "must be a time, such as 2026-01-31T12:00:00Z",
    "datetime_parsing": "must be a time, such as 2026-01-31T12:00:00Z ({error})",
    "datetime_from_date_parsing": "must be a time, such as 2026-01-31T12:00:00Z ({error})",
    "timezone_aware": "must say its time zone: Z at the end, or +02:00",
    "timezone_naive": "must not say a time zone",
    "date_type": "must be a date, such as 2026-01-31",
    "date_parsing": "must be a date, such as 2026-01-31 ({error})",
    "date_from_datetime_parsing": "must be a date, such as 2026-01-31 ({error})",
    "date_from_datetime_inexact": "must be a date without a time",
    "time_type": "must be a time of day, such as 12:00:00",
    "time_parsing": "must be a time of day, such as 12:00:00 ({error})",
    "time_delta_type": "must be a span of time, such as PT90S",
    "time_delta_parsing": "must be a span of time, such as PT90S ({error})",
    "json_type": "must be JSON as text",
    "json_invalid": "must be JSON as text ({error})",
    "url_type": "must be an address",
    "url_parsing": "must be an address ({error})",
    "url_syntax_violation": "must be an address ({error})",
    "url_too_long": "must have at most {max_length} characters",
    "url_scheme": "must be an address that begins with {expected_schemes}",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
}
SINGLE: Mapping[str, str] = {"string_too_short": "must not be empty", "too_short": "must not be empty"}  # at least one
OWN = ("value_error", "assertion_error")  # whoever raised it has said it all
NO_VALUE = ("missing", "extra_forbidden")  # where what was found says nothing

_SHOULD = re.compile(r"^(?:\S+ ){1,4}?(should|must) ")


def said(problem: ErrorDetails) -> str:
    """What must be there, and what was found instead. `problem` comes with its context and input."""
    words = expected(problem)
    if problem["type"] in NO_VALUE or problem["type"] not in EXPECTED:
        return words
    return f"{words}; found {found(problem['input'])}"


def expected(problem: ErrorDetails) -> str:
    """What must be there."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in OWN:
        return problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind in SINGLE and context.get("min_length") == 1:
        return SINGLE[kind]
    try:
        words = EXPECTED[kind].format_map({name: _written(name, value) for name, value in context.items()})
    except KeyError:  # not in the table; or a plugin has borrowed the type for an error of its own
        return _SHOULD.sub("must ", problem["msg"])
    return words if " or " in words or "," in words else words.replace(" one of ", " ")  # of a single one


def found(value: Any) -> str:
    """A value that was sent, short and on one line."""
    match value:
        case None | bool() | int() | float():
            return json.dumps(value)
        case str():
            short = len(value) <= SHOWN
            return json.dumps(value, ensure_ascii=not value.isprintable()) if short else f"{len(value)} characters"
        case Mapping():
            return f"an object of {len(value)}"
        case list() | tuple() | set() | frozenset():
            return f"a list of {len(value)}"
    return f"something of type {type(value).__name__}"


def _written(name: str, value: Any) -> str:
    """A limit, or the list of what there is, without the quotes of Python."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).replace("'", "") if name.startswith("expected") else str(value)

"""Many jobs in one body: the same whatever the pieces in which it comes."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.api import bulk
from hpcq.api.json_body import MAX_DEPTH
from hpcq.api.problem import Problem

LONGEST = 1 << 20


def fed(parser: bulk.Parser, pieces: Iterator[bytes] | list[bytes]) -> list[Any]:
    found = [job for piece in pieces for job in parser.feed(piece)]
    return found + list(parser.end())


def cut(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(VALUES, min_size=1, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_an_array_gives_the_same_elements_however_it_is_cut(
    values: list[Any], size: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    assert fed(bulk.Elements(LONGEST), cut(text, size)) == values


@given(st.lists(VALUES, min_size=1, max_size=6), st.integers(1, 40), st.booleans())
def test_lines_give_the_same_jobs_however_they_are_cut(values: list[Any], size: int, ended: bool) -> None:
    text = b"\n".join(orjson.dumps(value) for value in values) + b"\n" * ended
    assert fed(bulk.Lines(LONGEST), cut(text, size)) == values


def test_empty_lines_are_skipped_and_carriage_returns_do_not_matter() -> None:
    assert fed(bulk.Lines(LONGEST), [b'\n{"a":1}\r\n\r\n  \n{"b":2}']) == [{"a": 1}, {"b": 2}]


BAD_ELEMENTS = [
    b"NaN",
    b"-Infinity",
    b'"\\ud800"',
    b'"\xff"',
    b"{",
    b'{"a" 1}',
    b"[" * 100_000,
    b"[" * 5000 + b"]" * 5000,
    b"1" * 5000,
    b"tru",
    b'"\x01"',
]


@pytest.mark.parametrize("bad", BAD_ELEMENTS)
@pytest.mark.parametrize("size", [7, 65536])
def test_an_element_that_is_no_json_is_named_by_its_index(bad: bytes, size: int) -> None:
    with pytest.raises(Problem) as caught:
        fed(bulk.Elements(LONGEST), cut(b'[{"a": 1}, {"b": [2]}, ' + bad + b", {}]", size))
    assert caught.value.status == 400
    assert caught.value.errors[0]["pointer"] == "/2"


@pytest.mark.parametrize("bad", [bad for bad in BAD_ELEMENTS if bad != b"1" * 5000])
def test_a_line_that_is_no_json_is_named_by_its_index_and_line(bad: bytes) -> None:
    with pytest.raises(Problem) as caught:
        fed(bulk.Lines(LONGEST), [b'{"a": 1}\n\n{}\n' + bad + b"\n{}"])
    assert caught.value.status == 400
    assert caught.value.errors[0]["pointer"] == "/2"
    assert "line 4" in caught.value.detail


@pytest.mark.parametrize("text", [b"[1, 2", b"[", b"[1,", b"[1,]", b"[1] 2", b"[1]]", b"[1 2]", b"[,1]"])
def test_an_array_that_is_not_well_formed_is_refused(text: bytes) -> None:
    with pytest.raises(Problem) as caught:
        fed(bulk.Elements(LONGEST), cut(text, 1))
    assert caught.value.status == 400


def test_an_integer_that_is_too_large_is_named_in_a_line() -> None:
    with pytest.raises(Problem) as caught:
        fed(bulk.Lines(LONGEST), [b'{}\n{"params": {"n": 18446744073709551616}}\n'])
    assert caught.value.errors[0]["pointer"] == "/1/params/n"


@pytest.mark.parametrize(("parser", "before"), [(bulk.Elements, b"[{}, "), (bulk.Lines, b"{}\n")])
def test_nesting_beyond_the_limit_is_named_by_index(parser: Any, before: bytes) -> None:
    deep = b'{"p":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}"
    with pytest.raises(Problem) as caught:
        fed(parser(LONGEST), [before + deep + b"]"[: before.startswith(b"[")]])
    assert caught.value.status == 422
    assert caught.value.errors[0]["pointer"].startswith("/1/p")


@pytest.mark.parametrize(("parser", "start"), [(bulk.Elements, b'["'), (bulk.Lines, b'"')])
def test_one_job_may_not_be_larger_than_the_limit(parser: Any, start: bytes) -> None:
    with pytest.raises(Problem) as caught:
        fed(parser(1000), cut(start + b"x" * 2000, 300))
    assert caught.value.status == 413


async def test_more_jobs_than_allowed_are_413_and_none_is_422() -> None:
    async def body(text: bytes) -> AsyncIterator[bytes]:
        yield text

    with pytest.raises(Problem) as caught:
        await bulk.collect(body(b"[{},{},{}]"), bulk.Elements(LONGEST), 2)
    assert caught.value.status == 413
    with pytest.raises(Problem) as caught:
        await bulk.collect(body(b" [ ] "), bulk.Elements(LONGEST), 2)
    assert caught.value.status == 422
    assert await bulk.collect(body(b"[{},{}]"), bulk.Elements(LONGEST), 2) == [{}, {}]

"""Strict JSON: what is not accepted is refused by naming the place."""

import json

import pytest

from hpcq.api.json_body import MAX_DEPTH, parse
from hpcq.api.problem import Problem


def refused(text: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"",
        b"{} {}",
        b'{"a": NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e400]",
        b"[1" + b"0" * 5000 + b"]",
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b'"\xff\xfe"',
        b'"\x00"',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_json_is_refused_with_the_position(text: bytes) -> None:
    problem = refused(text)
    assert problem.status == 400
    assert "line 1 column" in problem.detail or "empty" in problem.detail


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


@pytest.mark.parametrize("digits", ["9223372036854775808", "-9223372036854775809", str(2**64), "1" + "0" * 300])
def test_an_integer_beyond_63_bits_is_named_by_its_pointer(digits: str) -> None:
    problem = refused(b'{"params": {"a/b": [1, %s]}}' % digits.encode())
    assert problem.status == 422
    assert [error["pointer"] for error in problem.errors] == ["/params/a~1b/1"]


def test_every_integer_that_is_too_large_is_named() -> None:
    problem = refused(b'{"a": 18446744073709551616, "b": [99999999999999999999]}')
    assert {error["pointer"] for error in problem.errors} == {"/a", "/b/0"}


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0])
def test_integers_of_63_bits_come_through_exactly(number: int) -> None:
    assert parse(json.dumps({"n": number}).encode()) == {"n": number}


def test_long_digits_in_strings_and_fractions_are_no_integers() -> None:
    text = b'{"id": "99999999999999999999999", "f": 0.12345678901234567890123}'
    assert parse(text)["f"] == pytest.approx(0.1234567890123456789)


def test_nesting_up_to_the_limit_is_accepted_and_one_more_is_refused() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    wide = b'{"a": [' + b",".join([b"[[1]]"] * 200) + b"]}"
    assert len(parse(wide)["a"]) == 200
    problem = refused(b'{"p": {"q": {"r": %s}}}' % (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b" " * 100))
    assert problem.status == 422
    assert problem.errors[0]["pointer"] == "/p/q/r"

"""Nothing that a job wrote steers a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.cli.output import UNSAFE, Cleaner, aligned, clean, duration, print_json, title

HOSTILE = "\x1b]0;title\x07\x1b[31mred\x1b[0m\x9b2J\u202eevil\r\x08"


def cleaned(*chunks: bytes) -> str:
    cleaner = Cleaner()
    return "".join(cleaner.feed(chunk) for chunk in chunks) + cleaner.feed(b"", last=True)


@given(st.text())
def test_a_cell_is_one_line_without_controls(text: str) -> None:
    assert not UNSAFE.search(clean(text))
    assert "\n" not in clean(text)


def test_a_cell_shows_what_was_there() -> None:
    assert clean("a\x1bb\u202ec\nd") == "a\\x1bb\\u202ec\\nd"


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_a_log_never_holds_controls_however_it_is_cut(chunks: list[bytes]) -> None:
    assert not UNSAFE.search(cleaned(*chunks))


@given(
    st.lists(
        st.sampled_from(
            [b"\x1b", b"[", b"3", b"1m", b"]", b"0;x", b"\x07", b"\\", b"text", b"\r", b"\n", b"\xc3", b"\xa4"]
        )
    )
)
def test_where_a_log_is_cut_makes_no_difference(parts: list[bytes]) -> None:
    assert cleaned(*parts) == cleaned(b"".join(parts))


def test_colours_and_titles_are_taken_out_whole() -> None:
    assert cleaned(b"\x1b[1;31mred\x1b[0m and \x1b]0;pwned\x07plain \x1b]8;;x\x1b\\link") == "red and plain link"


def test_text_of_all_languages_stays() -> None:
    text = "größe 数量 \U0001f600\ttab\n"
    assert cleaned(text.encode()) == text


def test_a_character_cut_in_two_is_whole_again() -> None:
    data = "ä".encode()
    assert cleaned(data[:1], data[1:]) == "ä"


def test_a_carriage_return_becomes_a_new_line() -> None:
    assert cleaned(b"10%\r20%\r", b"\nend\r\n") == "10%\n20%\nend\n"


def test_an_escape_that_never_ends_is_not_held_for_ever() -> None:
    cleaner = Cleaner()
    shown = "".join(cleaner.feed(chunk) for chunk in [b"\x1b]0;", *[b"x" * 1000] * 10])
    assert len(shown) > 5000


def test_json_holds_no_controls_and_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": HOSTILE, "text": "größe \ud800"}
    print_json(value)
    out = capsys.readouterr().out
    assert not UNSAFE.search(out)
    assert json.loads(out) == value


def test_plain_columns_are_aligned_and_never_cut() -> None:
    long = "x" * 300
    assert list(aligned(("a", "b"), [["1", long], ["22", "y"]])) == ["A   B", f"1   {long}", "22  y"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0.1234, "0.12s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (307, "5m07s"),
        (11520, "3h12m"),
        (187200, "2d04h"),
    ],
)
def test_durations_read_well(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"name": "n", "params": {"command": ["x"]}}, "n"),
        ({"name": None, "params": {"command": ["a b", "c"]}}, "'a b' c"),
        ({"params": {"command": "a | b"}}, "a | b"),
        ({"params": {"operation": "matmul", "size": 512}}, "matmul 512"),
        ({"params": {}, "runner": "noop"}, "noop"),
    ],
)
def test_a_job_without_a_name_is_called_by_what_it_does(job: dict[str, object], said: str) -> None:
    assert title(job) == said

"""What the fronts of earlier systems share: words, places of errors, and the end of a log."""

from pathlib import Path

import orjson
import pytest

from hpcq.api import compat
from hpcq.api.compat import smart_queue, test_queue
from hpcq.api.compat.front import TAG, WORDS, _place
from hpcq.core.job import State
from hpcq.engine.spec import PRIORITIES
from hpcq.store.rows import EventRow


def test_every_state_has_its_words() -> None:
    assert set(WORDS) == set(State)
    assert all(all(words) for words in WORDS.values())


def test_every_route_of_a_front_answers_with_and_without_a_slash_and_has_the_tag() -> None:
    for route in compat.ROUTES:
        assert [path.endswith("/") for path in route.paths] == [False, True]
        assert route.tag == TAG


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/params/test_path", "/test_path"),
        ("/batch_key", "/app_version_id"),
        ("/retries/max", "/max_retries"),
        ("/org_id", "/org_id"),
        ("/paramsandmore", "/paramsandmore"),
    ],
)
def test_an_error_names_the_place_that_the_client_knows(pointer: str, expected: str) -> None:
    assert _place(pointer, test_queue.PLACES) == expected


def test_the_most_exact_place_wins() -> None:
    places = smart_queue.PLACES
    assert _place("/resources/cpus", places) == "/resource_requirements/cpu_units"
    assert _place("/resources/licence", places) == "/resource_requirements/licence"


def test_a_priority_has_the_word_of_what_is_next_below_it() -> None:
    assert {level: smart_queue._level(number) for level, number in PRIORITIES.items()} == {
        level: level for level in PRIORITIES
    }
    assert [smart_queue._level(number) for number in (-100, -1, 5, 19, 100)] == [
        "low",
        "low",
        "normal",
        "high",
        "critical",
    ]


def test_the_end_of_a_long_output_is_its_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    assert smart_queue._end_of(path) == ([], False)
    path.write_bytes(b"one\r\ntwo\n\xff\nno end")
    assert smart_queue._end_of(path) == (["one", "two", "\N{REPLACEMENT CHARACTER}", "no end"], False)
    path.write_text("".join(f"{n}\n" for n in range(smart_queue.LOG_LINES + 1)))
    lines, cut = smart_queue._end_of(path)
    assert (lines[0], lines[-1], len(lines), cut) == ("1", str(smart_queue.LOG_LINES), smart_queue.LOG_LINES, True)
    path.write_bytes(b"x" * smart_queue.LOG_BYTES + b"end")
    lines, cut = smart_queue._end_of(path)
    assert (len(lines[0]), lines[0][-3:], cut) == (smart_queue.LOG_BYTES, "end", True)


def test_an_output_behind_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "output.log").symlink_to(tmp_path / "secret")
    assert smart_queue._end_of(tmp_path / "output.log") == ([], False)


def test_what_happened_is_said_with_its_cause() -> None:
    error = orjson.dumps({"error": {"type": "exit", "message": "exit status 1"}})
    event = EventRow(1, 0.0, "job.failed", "id", 1, "failed", "local", "default", 2, error)
    assert smart_queue._sentence(event) == "failed, attempt 2: exit status 1 (exit)"
    assert smart_queue._sentence(event._replace(type="job.submitted")) == "submitted to queue local"
    assert smart_queue._sentence(event._replace(type="job.cancelled", attempt=0, detail=None)) == "cancelled"


def test_the_stream_tells_changes_of_jobs_and_nothing_else() -> None:
    started = EventRow(7, 0.0, "job.started", "id", 1, "running", "local", "default", 1)
    told = orjson.loads(smart_queue._change(started) or "")
    assert (told["job_id"], told["status"]) == ("id", "running")
    assert smart_queue._change(started._replace(seq=0, type="job.progress")) is None
    assert smart_queue._change(EventRow(8, 0.0, "queue.changed", queue="local")) is None

"""What runs print, read with bounded work: a job decides on it, and the server does nothing else meanwhile."""

import subprocess
import sys
from pathlib import Path

import pytest

from hpcq_runners.appwright import verdict, words
from hpcq_runners.appwright.reading import read_end, read_json

LIMIT_S = 10.0  # generous: patterns that span lines take minutes
SIZE = 64 << 10
LOOK = """
from pathlib import Path
from hpcq_runners.appwright import split, verdict, words
text = {text}
verdict.said(text)
words.brief(text)
words.brief("Error: a" + text)
split._culprits([{{"stack": text}}], Path("/nowhere"))
"""


@pytest.mark.parametrize(
    "line", ["\n", "   at x\n", "   at x", " ", "   at (", " at /a:1", "a", ":1", "   at ( (:1:1:1\n"]
)
def test_no_output_keeps_the_server_busy(line: str) -> None:
    look = LOOK.format(text=f"'x' + {line!r} * {SIZE // len(line)} + 'y'")
    subprocess.run([sys.executable, "-c", look], timeout=LIMIT_S, check=True)


def test_the_error_is_found_among_other_lines_and_its_place_named() -> None:
    log = "hello\n\n  TypeError: no\n    at Object.<anonymous> (tests/a.spec.js:3:4)\n    at node:internal:1:1\n"
    assert verdict.said(log).startswith("TypeError: no")
    assert words.brief(verdict.said(log)) == "TypeError: no (tests/a.spec.js:3:4)"
    assert verdict.said("\n".join("abcdefg")) == "c\nd\ne\nf\ng"
    assert verdict.said("a") == "a"


def test_a_file_is_read_so_far_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[1]")
    assert read_json(path, 3) == [1]
    assert read_json(path, 2) is None
    assert read_end(path, 2) == "1]"
    assert read_end(path, 2, begin=2) == "]"
    path.write_text("[" * 200_000)
    assert read_json(path, 1 << 20) is None
    assert read_json(tmp_path / "gone", 1) is None
    assert read_json(tmp_path, 1) is None

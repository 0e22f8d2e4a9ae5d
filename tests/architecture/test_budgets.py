"""Small files, small functions."""

from tests.support.sources import Source, sources

OURS = sources("hpcq", "runners")
FILE_LINES = 400
FUNCTION_LINES = 70
USUAL_LINES = 30
USUAL_SHARE = 0.9


def lengths(found: list[Source]) -> dict[str, int]:
    """Lines of each function, from `def` to its last."""
    return {
        f"{source.at(function.lineno)} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for source in found
        for function in source.functions()
    }


def test_there_is_something_to_measure() -> None:
    assert len(OURS) > 50


def test_no_file_is_longer_than_400_lines() -> None:
    too_long = {str(source): lines for source in OURS if (lines := source.text.count("\n")) > FILE_LINES}
    assert not too_long


def test_no_test_file_is_longer_than_400_lines() -> None:
    found = sources("tests", "acceptance")
    assert not {str(source): lines for source in found if (lines := source.text.count("\n")) > FILE_LINES}


def test_no_function_is_longer_than_70_lines() -> None:
    assert not {name: lines for name, lines in lengths(OURS).items() if lines > FUNCTION_LINES}


def test_nine_functions_in_ten_are_shorter_than_30_lines() -> None:
    measured = lengths(OURS)
    longer = sorted(name for name, lines in measured.items() if lines >= USUAL_LINES)
    assert len(longer) <= (1 - USUAL_SHARE) * len(measured), longer

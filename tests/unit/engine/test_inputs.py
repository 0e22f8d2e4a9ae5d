"""Which uploaded files a job's params name."""

from typing import Any

import orjson
import pytest

from hpcq.engine.inputs import Named, faults, named_in, pins
from hpcq.store.rows import AppRow, Resolved

A, B = "a" * 64, "b" * 64


def named(params: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return sorted((one.pointer, one.name, one.build) for one in named_in(params, orjson.dumps(params)))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, []),
        ({"app": {"blob": A}}, [("/params/app/blob", A, False)]),
        ({"a/b": [1, {"~": {"blob": B}}]}, [("/params/a~1b/1/~0/blob", B, False)]),
        ({"app": {"blob": A}, "cwd": {"blob": A}}, [("/params/app/blob", A, False), ("/params/cwd/blob", A, False)]),
        ({"app_version_id": "rc1"}, [("/params/app_version_id", "rc1", True)]),
        ({"app": {"blob": A.upper()}}, [("/params/app/blob", A.upper(), False)]),
    ],
)
def test_uploads_are_found_anywhere_in_the_params(params: dict[str, Any], expected: list[Any]) -> None:
    assert named(params) == expected


@pytest.mark.parametrize(
    "params",
    [
        {"env": {"blob": "some text"}},
        {"args": {"blob": A, "more": 1}},
        {"blob": 7},
        {"app_version_id": None},
        {"inner": {"app_version_id": "only at the top"}},
        {"message": f'"blob": {A}'},
    ],
)
def test_what_only_looks_like_one_is_left_to_the_runner(params: dict[str, Any]) -> None:
    assert named(params) == []


def test_a_sum_that_is_not_known_is_refused_where_it_stands_and_an_unknown_build_is_a_label() -> None:
    found = [Named("/params/app/blob", A, False), Named("/params/app_version_id", "rc", True)]
    (fault,) = faults(found, None, "default", Resolved({}, {}))
    assert fault.pointer == "/params/app/blob"
    assert A in fault.detail
    assert not list(faults(found, None, "default", Resolved({}, {}, frozenset({("", A)}))))
    assert list(faults(found, "red", "red", Resolved({}, {}, frozenset({("", A)})))), "it is not this org's"


def test_a_build_whose_file_is_gone_is_refused() -> None:
    known = Resolved({}, {}, apps={("default", "rc"): AppRow("default", "rc", A, 0.0, size=None)})
    (fault,) = faults([Named("/params/app_version_id", "rc", True)], None, "default", known)
    assert fault.pointer == "/params/app_version_id"
    assert "no longer kept" in fault.detail


def test_a_name_stands_for_what_it_stood_for_at_submit_in_the_jobs_own_org() -> None:
    known = Resolved({}, {}, apps={("red", "rc"): AppRow("red", "rc", A, 0.0, size=1)})
    found = [Named("/params/app_version_id", "rc", True), Named("/params/cwd/blob", B, False)]
    assert pins(found, "red", known) == {"rc": A, B: B}
    assert pins(found, "blue", known) == {B: B}

"""The shared cells tell what has begun, and keep from beginning what must not."""

import ctypes

from hpcq_runners.matrix.cells import SIZE, SKIP_CELLS, Cells


def both() -> tuple[Cells, Cells]:
    """The worker's and the server's view of the same cells."""
    array = (ctypes.c_longlong * SIZE)()
    return Cells(array), Cells(array)


def test_a_job_that_has_not_begun_can_be_skipped() -> None:
    worker, server = both()
    assert worker.enter(1)
    assert server.skip(2)
    assert not worker.enter(2)
    assert worker.enter(3)


def test_a_job_that_has_begun_cannot() -> None:
    worker, server = both()
    assert worker.enter(1)
    assert worker.enter(2)
    assert server.running == 2
    assert not server.skip(1)
    assert not server.skip(2)


def test_a_skip_does_not_touch_the_job_that_uses_its_cell_next() -> None:
    worker, server = both()
    assert server.skip(1)
    assert worker.enter(1 + SKIP_CELLS)

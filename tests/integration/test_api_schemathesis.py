"""Requests made from the OpenAPI document, good and bad: no 5xx, and every answer is as documented."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.core.result import Ok

from tests.support.server import ServerProcess

EXAMPLES = 8  # of each operation and mode
# Rules over several fields are in no schema, and a runner's own validators neither: good data may be refused.
NOT_MEANT = [positive_data_acceptance, negative_data_rejection]
ENDLESS = ["/v1/events", "/v1/stream", "/jobs/stream"]
MOST_WAIT_S = 0.05


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """It rehearses: nothing that the generator makes up is run."""
    served = ServerProcess(tmp_path_factory.mktemp("fuzz"), arguments=["--rehearse"]).start()
    yield served
    assert not any("incident" in line or "Traceback" in line for line in served.log), "".join(served.log)
    served.close()


def send(case: Any) -> None:
    """Send it, with the patience of a test, and check the answer."""
    for name, most in (("wait", MOST_WAIT_S), ("follow", False)):
        if isinstance(case.query, dict) and name in case.query:
            case.query[name] = most
    case.call_and_validate(excluded_checks=NOT_MEANT, timeout=30)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_documented_and_never_5xx(server: ServerProcess, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json").exclude(path=ENDLESS)
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        tried += 1
        attack = given(operation.as_strategy(generation_mode=mode))(send)
        limited = settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        try:
            limited(attack)()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, "what takes no input cannot be given a wrong one"
    assert tried > 20

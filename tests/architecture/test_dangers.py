"""What has cost others dearly is not done here."""

import ast
import re
from collections.abc import Iterator

from tests.support.sources import ROOT, Source, called, sources

OURS = sources("hpcq", "runners")
MAKERS = ("create_task", "ensure_future")
SPAWNED = "hpcq/engine/spawned.py"
KEEPS_ITS_OWN = "hpcq/engine/launcher.py"  # one, in an attribute
OWN_OTHER_HALF = "hpcq/engine/launcher_protocol.py"  # a private socket pair, both ends ours
WRITERS = {"hpcq/store/hop.py", "hpcq/store/schema.py"}  # the one connection that writes


def calls() -> Iterator[tuple[Source, ast.Call]]:
    """All calls in our code."""
    return ((source, call) for source in OURS for call in source.calls())


def keyword(call: ast.Call, name: str) -> object:
    """The constant that is given for a keyword of a call."""
    given = [each.value for each in call.keywords if each.arg == name]
    return given[0].value if given and isinstance(given[0], ast.Constant) else None


def test_nothing_forks() -> None:
    assert not [source.at(call.lineno) for source, call in calls() if called(call) in ("fork", "forkpty")]


def test_worker_processes_are_never_forked_from_the_server() -> None:
    starts = [(source, call) for source, call in calls() if called(call) in ("get_context", "set_start_method")]
    methods = [getattr(call.args[0], "value", "?") if call.args else "default" for _, call in starts]
    assert set(methods) <= {"forkserver", "spawn"}, [source.at(call.lineno) for source, call in starts]


def test_nothing_goes_through_a_shell_unseen() -> None:
    doors = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}
    assert not [
        source.at(call.lineno) for source, call in calls() if keyword(call, "shell") is True or called(call) in doors
    ]


def test_foreign_data_is_never_unpickled() -> None:
    unsafe = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
    imported = [(source, module, line) for source in OURS for module, line in source.imports()]
    found = [source.at(line) for source, module, line in imported if module.split(".")[0] in unsafe]
    assert not [place for place in found if not place.startswith(OWN_OTHER_HALF)]
    assert not [source.at(call.lineno) for source, call in calls() if keyword(call, "allow_pickle") is True]


def test_background_work_is_kept_by_a_reference() -> None:
    lines = [(source, node.value) for source in OURS for node in source.nodes() if isinstance(node, ast.Expr)]
    assert not [
        source.at(value.lineno) for source, value in lines if isinstance(value, ast.Call) and called(value) in MAKERS
    ], "it is collected while it runs: keep it"


def test_the_engine_starts_background_work_in_one_place() -> None:
    found = {str(source) for source, call in calls() if called(call) in MAKERS}
    elsewhere = {name for name in found if name.startswith("hpcq/engine/")} - {SPAWNED, KEEPS_ITS_OWN}
    assert not elsewhere, f"use {SPAWNED}"


def test_every_transaction_takes_the_write_lock_at_once() -> None:
    begins = [
        (source.at(line), text.split())
        for source in OURS
        for text, line in source.texts()
        if re.match(r"\s*BEGIN\b", text)
    ]
    assert begins
    assert not [place for place, words in begins if words[:2] != ["BEGIN", "IMMEDIATE"]]


def test_only_the_writer_opens_the_store_for_writing() -> None:
    opens = ("sqlite3.connect", "aiosqlite.connect")
    found = [(source, call) for source, call in calls() if ast.unparse(call.func) in opens]
    assert found
    assert not [
        source.at(call.lineno)
        for source, call in found
        if str(source) not in WRITERS and "mode=ro" not in ast.unparse(call)
    ]


def test_migrations_leave_transactions_to_the_code_that_runs_them() -> None:
    for path in (ROOT / "hpcq" / "store" / "migrations").glob("*.sql"):
        text = re.sub(r"--.*", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"\b(BEGIN\s+(IMMEDIATE|TRANSACTION|DEFERRED|EXCLUSIVE)|COMMIT)\b", text), path.name


def test_tests_use_no_mocks() -> None:
    imported = [(source, module, line) for source in sources("tests") for module, line in source.imports()]
    mocks = ("mock", "pytest_mock")
    assert not [source.at(line) for source, module, line in imported if module.split(".")[-1] in mocks]

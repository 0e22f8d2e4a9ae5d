"""One word for one thing: job, attempt, queue, slot, runner, policy, capacity, store."""

import ast
import re
from collections.abc import Iterator

from tests.support.sources import Function, Source, sources

OURS = sources("hpcq", "runners")
AVOIDED = {"task", "tasks", "manager", "managers", "util", "utils", "helper", "helpers"}
LACKS_UNIT = re.compile(r"(timeout|delay|interval|grace|backoff|duration|elapsed)$")


def words(name: str) -> set[str]:
    """`JobTask` and `job_task` both hold `task`."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def names(source: Source) -> Iterator[tuple[str, int]]:
    """What we name ourselves: the module, its classes and functions."""
    yield source.path.stem, 1
    for node in source.nodes():
        if isinstance(node, ast.ClassDef | Function):
            yield node.name, node.lineno


def numbers(source: Source) -> Iterator[ast.arg]:
    """Arguments that are numbers."""
    for function in source.functions():
        for argument in (*function.args.args, *function.args.kwonlyargs):
            if argument.annotation is not None and re.search(r"\b(int|float)\b", ast.unparse(argument.annotation)):
                yield argument


def test_other_peoples_words_are_not_used() -> None:
    found = [(source.at(line), name) for source in OURS for name, line in names(source)]
    assert not [f"{place} {name}" for place, name in found if words(name) & AVOIDED]


def test_units_end_the_name_of_a_number() -> None:
    found = [(source, argument) for source in OURS for argument in numbers(source)]
    assert not [f"{source.at(each.lineno)} {each.arg}" for source, each in found if LACKS_UNIT.search(each.arg)]


def test_every_module_says_what_it_is() -> None:
    silent = [str(source) for source in OURS if source.tree.body and not ast.get_docstring(source.tree)]
    assert not silent, "the first line of a module says what it is for"

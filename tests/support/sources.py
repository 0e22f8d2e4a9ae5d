"""Our own source files, parsed, for tests about the code itself."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def module(self) -> str:
        """Its name when imported; `runners` is installed as `hpcq_runners`."""
        parts = [*self.path.relative_to(ROOT).with_suffix("").parts]
        parts[0] = {"runners": "hpcq_runners"}.get(parts[0], parts[0])
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    def nodes(self) -> Iterator[ast.AST]:
        """Everything in it."""
        return ast.walk(self.tree)

    def functions(self) -> Iterator[Function]:
        """All functions and methods, inner ones too."""
        return (node for node in self.nodes() if isinstance(node, Function))

    def calls(self) -> Iterator[ast.Call]:
        """All calls."""
        return (node for node in self.nodes() if isinstance(node, ast.Call))

    def imports(self) -> Iterator[tuple[str, int]]:
        """(module, line) of each import, those inside functions too."""
        for node in self.nodes():
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or "", node.lineno

    def texts(self) -> Iterator[tuple[str, int]]:
        """(text, line) of each string that is no docstring."""
        docstrings = {id(statement.value) for node in self.nodes() if (statement := _first(node)) is not None}
        for node in self.nodes():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield node.value, node.lineno

    def at(self, line: int) -> str:
        """A place, for a message."""
        return f"{self}:{line}"


def _first(node: ast.AST) -> ast.Expr | None:
    """The expression that a module, class or function begins with."""
    if not isinstance(node, ast.Module | ast.ClassDef | Function) or not node.body:
        return None
    return node.body[0] if isinstance(node.body[0], ast.Expr) else None


@cache
def sources(*folders: str) -> list[Source]:
    """All Python files below these folders of the repository."""
    return [Source(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def called(call: ast.Call) -> str:
    """The name under which something is called: `create_task` of `asyncio.create_task(...)`."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")

"""The project's source for the style tests: files, modules and their imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "projections", "api", "scripts", "tests")


@dataclass(frozen=True)
class Source:
    """One Python file. module: its dotted name."""

    path: Path

    @property
    def name(self) -> str:
        """The path from the root, for messages."""
        return str(self.path.relative_to(ROOT))

    @property
    def module(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]

    @cached_property
    def imports(self) -> frozenset[str]:
        """Every module imported anywhere in the file, `from package import module` resolved."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                found |= {self._resolved(base, alias.name) for alias in node.names}
        return frozenset(found)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.module.split(".")[: -node.level]
        return ".".join([*package, *([node.module] if node.module else [])])

    @staticmethod
    def _resolved(base: str, name: str) -> str:
        folder = ROOT.joinpath(*base.split("."))
        is_module = (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()
        return f"{base}.{name}" if is_module else base


@cache
def sources(*rooms: str) -> tuple[Source, ...]:
    """Every Python file of the rooms, in order; of all rooms if none is named."""
    return tuple(
        _source(path)
        for room in rooms or ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if "__pycache__" not in path.parts
    )


# Read and parsed once for all tests.
_source = cache(Source)


def belongs_to(module: str, *packages: str) -> bool:
    """Whether a module is one of the packages or is below one."""
    return any(module == p or module.startswith(f"{p}.") for p in packages)


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string constant with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value

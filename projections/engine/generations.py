"""Generations of a view's tables: created empty, filled, swapped in for the old ones, dropped.

Tables carry their generation in their name (`score_board_rows_g3`); the name that queries use is an
SQL view over the current generation. A rebuild fills a new generation while the old one answers
(blue-green), and the swap is one short transaction. All SQL here needs only the program's own role.
Reading order: Generation, ensure, create, finish, swap, drop_others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from domain.store.postgres import definitions
from domain.store.postgres.connection import Connection, Cursor
from domain.store.privacy.epoch_keys import EpochKeys, EpochName
from domain.store.privacy.live_epochs import Row as EpochRow
from domain.store.privacy.live_epochs import read_live_epochs, to_write_under
from projections.engine.tables import TYPES, Table, kind_of
from projections.engine.view import View

SCHEMA = "views"

_SCHEMA_SQL = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.generations (
    view       text    COLLATE "C" PRIMARY KEY,
    version    integer NOT NULL,
    generation integer NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE {SCHEMA}.generations ADD COLUMN IF NOT EXISTS epoch integer;
CREATE TABLE IF NOT EXISTS {SCHEMA}.made (
    view       text    COLLATE "C" NOT NULL,
    generation integer NOT NULL,
    name       text    COLLATE "C" NOT NULL,
    PRIMARY KEY (view, generation, name)
);
CREATE TABLE IF NOT EXISTS {SCHEMA}.numbers (
    view text    COLLATE "C" PRIMARY KEY,
    last integer NOT NULL
);
CREATE TABLE IF NOT EXISTS {SCHEMA}.pauses (
    ledger   text   COLLATE "C" NOT NULL,
    view     text   COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    topic    text,
    reason   text   NOT NULL,
    since    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger, view)
);
CREATE OR REPLACE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE OR REPLACE FUNCTION {SCHEMA}.refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT entry_no INTO wrong FROM added GROUP BY ledger, entry_no
        HAVING sum(debit_fen) <> sum(credit_fen) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % does not sum to zero', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""

_APPEND_ONLY = (
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change()"
)

BALANCED = (
    "CREATE TRIGGER balanced AFTER INSERT ON {table} REFERENCING NEW TABLE AS added "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_unbalanced()"
)
"""Trigger for postings: every statement inserts whole entries, and each sums to zero."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a view's tables. version: of the code that folds into them.

    epoch: that its blind indexes are under; None if it has none, or that epoch is over, while
    is_under_epoch.
    """

    view: str
    version: int
    number: int
    epoch: EpochName | None = None
    is_under_epoch: bool = False


def physical(table: Table, number: int) -> str:
    """Name of a table in a generation, with its schema."""
    return f"{SCHEMA}.{table.name}_g{number}"


def tracking_name(view: View, number: int) -> str:
    """The key in `tracking` of a generation that is not current yet."""
    return f"{view.name}@{number}"


LOCK_SHARED = (
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('certledger view ' || name, 0)) "
    "FROM unnest(%s) AS name"
)
"""Lock for folding into views, in order of name: shared among folds, excluded by a swap."""


def lock_exclusive(cursor: Cursor, name: str) -> None:
    """Lock for a swap or a comparison: waits for running folds and keeps new ones out."""
    cursor.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('certledger view ' || %s, 0))", (name,)
    )


def in_force(cursor: Cursor, names: Iterable[str]) -> dict[str, Generation]:
    """The current generations by view; a view without tables is missing."""
    cursor.execute(
        "SELECT g.view, g.version, g.generation, e.epoch, e.key_id, g.epoch IS NOT NULL "
        f"FROM {SCHEMA}.generations g "
        "LEFT JOIN certledger.epochs e ON e.epoch = g.epoch AND e.destroyed_at IS NULL "
        "WHERE g.view = ANY(%s)",
        (list(names),),
    )
    return {
        view: Generation(view, version, number, epoch and EpochName(epoch, key_id), is_under)
        for view, version, number, epoch, key_id, is_under in cursor.fetchall()
    }


def is_readable(view: View, current: Generation) -> bool:
    """Whether tables are of this program's version, and their epoch is not over."""
    has_epoch = current.epoch is not None or not view.has_blind_indexes
    return current.version == view.version and has_epoch


def outdated(
    current: Mapping[str, Generation], views: Iterable[View], live: Sequence[EpochRow]
) -> list[View]:
    """The views whose tables have to be rebuilt: of an older version, or of another epoch.

    Tables of a newer version belong to a newer program that runs too. live: the epochs.
    """
    epoch = to_write_under(live)
    found = ((view, current[view.name]) for view in views if view.name in current)
    return [
        view
        for view, tables in found
        if tables.version < view.version
        or (tables.version == view.version and view.has_blind_indexes and tables.epoch != epoch)
    ]


def epochs_in_use(cursor: Cursor) -> set[int]:
    """The numbers of the epochs that the blind indexes of views are under."""
    cursor.execute(f"SELECT to_regclass('{SCHEMA}.generations') IS NOT NULL")
    if cursor.fetchone() != (True,):
        return set()
    cursor.execute(f"SELECT epoch FROM {SCHEMA}.generations WHERE epoch IS NOT NULL")
    return {epoch for (epoch,) in cursor.fetchall()}


def ensure(connection: Connection, views: Sequence[View], epoch_keys: EpochKeys) -> None:
    """Create missing tables, so that every view can be queried; safe in concurrent processes.

    A view of another version is left as it is, and answers until `rebuild` swaps in the new one.
    epoch_keys: begin the first epoch of a database. Raises: WrongEpochKey, psycopg2.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            lock_exclusive(cursor, "*")
            cursor.execute(_SCHEMA_SQL)
            current = in_force(cursor, [view.name for view in views])
            for view in views:
                if view.name not in current:
                    number = next_number(cursor, view)
                    create(cursor, view, number)
                    finish(cursor, view, number)
                    _point(cursor, view, number)
                    epoch = None
                    if view.has_blind_indexes:
                        epoch = to_write_under(read_live_epochs(cursor, epoch_keys)).number
                    cursor.execute(
                        f"INSERT INTO {SCHEMA}.generations (view, version, generation, epoch) "
                        "VALUES (%s, %s, %s, %s)",
                        (view.name, view.version, number, epoch),
                    )
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise


def next_number(cursor: Cursor, view: View) -> int:
    """Allocate a generation number, inside a transaction; none is ever used twice.

    A process left over from a killed rebuild, which still fills its tables, must not find the
    tables of another generation under their names.
    """
    cursor.execute(f"SELECT max(generation) FROM {SCHEMA}.made WHERE view = %s", (view.name,))
    listed = _one_int(cursor) or 0
    free = max([listed, *(number for _, number, _ in _unlisted(cursor, view))]) + 1
    cursor.execute(
        f"INSERT INTO {SCHEMA}.numbers AS n (view, last) VALUES (%s, %s) ON CONFLICT (view) "
        "DO UPDATE SET last = greatest(n.last + 1, excluded.last) RETURNING last",
        (view.name, free),
    )
    number = _one_int(cursor)
    assert number is not None
    return number


def _one_int(cursor: Cursor) -> int | None:
    row = cursor.fetchone()
    assert row is not None
    value: int | None = row[0]
    return value


def _unlisted(cursor: Cursor, view: View) -> list[tuple[str, int, bool]]:
    """Tables of a view that `made` does not list: (name, generation, whether we may drop it).

    Earlier versions created and listed a table in two steps, and left these when killed in between.
    """
    cursor.execute(
        "SELECT f.name, f.number, f.ours FROM (SELECT (regexp_match(tablename, %(form)s))[1] AS "
        "name, (regexp_match(tablename, %(form)s))[2]::integer AS number, "
        "pg_has_role(tableowner, 'USAGE') AS ours FROM pg_tables WHERE schemaname = %(schema)s) f "
        f"WHERE (f.name = ANY(%(names)s) OR f.name IN (SELECT name FROM {SCHEMA}.made "
        f"WHERE view = %(view)s)) AND NOT EXISTS (SELECT FROM {SCHEMA}.made m "
        "WHERE m.view = %(view)s AND m.name = f.name AND m.generation = f.number)",
        {
            "form": "^(.+)_g([1-9][0-9]{0,8})$",
            "schema": SCHEMA,
            "names": [table.name for table in view.tables],
            "view": view.name,
        },
    )
    return cursor.fetchall()


def create(
    cursor: Cursor, view: View, number: int, *, keys: bool = False, logged: bool = True
) -> None:
    """Create and list the tables of a generation, empty, inside a transaction.

    keys: create the primary keys too; filling is faster without. logged: whether they survive a
        crash of the server; not needed for tables that are only compared.
    """
    for table in view.tables:
        columns = ['ledger text COLLATE "C" NOT NULL']
        for name, declared in table.columns.items():
            null = "" if declared.endswith("?") else " NOT NULL"
            columns.append(f"{name} {TYPES[kind_of(declared)]}{null}")
        # Autovacuum would delay the indexes of a table that is being filled.
        cursor.execute(
            f"CREATE {'' if logged else 'UNLOGGED '}TABLE {physical(table, number)} "
            f"({', '.join(columns)}) "
            "WITH (autovacuum_enabled = off)"
        )
        cursor.execute(
            f"INSERT INTO {SCHEMA}.made (view, generation, name) VALUES (%s, %s, %s)",
            (view.name, number, table.name),
        )
        if keys:
            _add_key(cursor, table, number)
        for trigger in table.triggers:
            cursor.execute(trigger.format(table=physical(table, number)))


def finish(cursor: Cursor, view: View, number: int, *, keys: bool = True) -> None:
    """Create indexes and append-only triggers, once the rows are written."""
    for table in view.tables:
        finish_table(cursor, table, number, keys=keys)


def finish_table(cursor: Cursor, table: Table, number: int, *, keys: bool) -> None:
    """Finish one table. keys: whether to create its primary key too."""
    name = physical(table, number)
    if keys:
        _add_key(cursor, table, number)
    for index in table.indexes:
        unique = "UNIQUE " if index.startswith("UNIQUE ") else ""
        cursor.execute(f"CREATE {unique}INDEX ON {name} {index.removeprefix(unique)}")
    if table.kind != "current":
        cursor.execute(_APPEND_ONLY.format(table=name))
    # Only the columns in keys and indexes now; autovacuum analyses the others later.
    mentioned = re.findall(r"\w+", " ".join(table.indexes))
    searched = {*table.primary_key, *mentioned} & {"ledger", *table.columns}
    cursor.execute(f"ANALYZE {name} ({', '.join(sorted(searched))})")
    cursor.execute(f"ALTER TABLE {name} RESET (autovacuum_enabled)")


def _add_key(cursor: Cursor, table: Table, number: int) -> None:
    key = ", ".join(table.primary_key)
    cursor.execute(f"ALTER TABLE {physical(table, number)} ADD PRIMARY KEY ({key})")


def swap(cursor: Cursor, view: View, number: int, epoch: int | None) -> None:
    """Make a finished generation current, together with the positions it has reached.

    epoch: that its blind indexes are under. Inside a transaction that holds `lock_exclusive`.
    """
    _point(cursor, view, number)
    cursor.execute("DELETE FROM certledger.tracking WHERE view = %s", (view.name,))
    cursor.execute(
        "UPDATE certledger.tracking SET view = %s WHERE view = %s",
        (view.name, tracking_name(view, number)),
    )
    cursor.execute(f"DELETE FROM {SCHEMA}.pauses WHERE view = %s", (view.name,))
    cursor.execute(
        f"INSERT INTO {SCHEMA}.generations (view, version, generation, epoch) "
        "VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (view) DO UPDATE SET version = excluded.version, "
        "generation = excluded.generation, epoch = excluded.epoch, made_at = clock_timestamp()",
        (view.name, view.version, number, epoch),
    )


def _point(cursor: Cursor, view: View, number: int) -> None:
    """Point the stable names at a generation; drop names of tables that no longer exist."""
    cursor.execute(f"SELECT DISTINCT name FROM {SCHEMA}.made WHERE view = %s", (view.name,))
    for (name,) in cursor.fetchall():
        cursor.execute(f"DROP VIEW IF EXISTS {SCHEMA}.{name}")
    for table in view.tables:
        cursor.execute(
            f"CREATE VIEW {SCHEMA}.{table.name} AS SELECT * FROM {physical(table, number)}"
        )


def altered_definitions(connection: Connection, view: View, number: int) -> list[str]:
    """The tables of a view whose stable name shows other rows than the generation's table has.

    Its definition is compared with a new one. Triggers, rules and row security that the program
    did not make count too, because they change what is written or read.
    """
    altered = []
    with connection.cursor() as cursor:
        for table in view.tables:
            name = physical(table, number)
            cursor.execute("BEGIN")
            try:
                cursor.execute(f"CREATE TEMP VIEW expected AS SELECT * FROM {name}")
                cursor.execute(_IS_ALTERED, {"view": f"{SCHEMA}.{table.name}", "table": name})
                if cursor.fetchone() != (False,):
                    altered.append(table.name)
            finally:
                cursor.execute("ROLLBACK")
    return altered


_IS_ALTERED = f"""
SELECT pg_get_viewdef(to_regclass(%(view)s)) IS DISTINCT FROM
        pg_get_viewdef('pg_temp.expected'::regclass)
    OR EXISTS (SELECT FROM pg_class WHERE oid = %(table)s::regclass
        AND (relrowsecurity OR relhasrules))
    OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = %(table)s::regclass AND NOT tgisinternal
        AND (tgname NOT IN ('append_only', 'balanced') OR tgenabled <> 'O' OR tgfoid NOT IN (
            to_regproc('{SCHEMA}.refuse_change'), to_regproc('{SCHEMA}.refuse_unbalanced'))))
    OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%(view)s))
"""


def altered_functions(connection: Connection) -> list[str]:
    """The functions of the views' schema that are not as the program made them, with their kind."""
    with connection.cursor() as cursor:
        return definitions.altered_functions(cursor, SCHEMA, _SCHEMA_SQL)


def drop_others(cursor: Cursor, view: View, keep: int) -> None:
    """Drop every generation but one, finished or left over from a killed rebuild.

    Inside a transaction that holds the rebuild lock, so that no process is filling them.
    """
    unlisted = [(n, number) for n, number, ours in _unlisted(cursor, view) if ours]
    cursor.execute(
        f"DELETE FROM {SCHEMA}.made WHERE view = %s AND generation <> %s "
        "RETURNING name, generation",
        (view.name, keep),
    )
    for name, number in [*cursor.fetchall(), *(t for t in unlisted if t[1] != keep)]:
        cursor.execute(f"DROP TABLE IF EXISTS {SCHEMA}.{name}_g{number}")
        cursor.execute(
            "DELETE FROM certledger.tracking WHERE view = %s", (tracking_name(view, number),)
        )

"""Creates indexes after the rows: one sort each, instead of one search per row.

The definitions come from the database's catalogue, so that none is repeated here.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from scripts.benchmarks.server import Server

_SETTINGS = "SET maintenance_work_mem = '1GB'; SET max_parallel_maintenance_workers = 0; "

_FOUND = """SELECT i.indrelid::regclass::text, n.nspname || '.' || c.relname, c.relname,
    pg_get_indexdef(i.indexrelid), k.contype
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
WHERE i.indrelid = ANY(%s::regclass[]) ORDER BY c.relpages DESC, 2"""

_KINDS = {"p": "PRIMARY KEY", "u": "UNIQUE"}


@contextmanager
def made_afterwards(server: Server, database: str, tables: Sequence[str]) -> Iterator[None]:
    """Drops all indexes of the tables; recreates them and their constraints after the block."""
    found = server.execute(database, _FOUND, (list(tables),))
    for table, index, name, _, constraint in found:
        dropped = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
        server.execute(database, dropped if constraint else f"DROP INDEX {index}")
    yield
    with ThreadPoolExecutor(os.cpu_count()) as several:
        made = [sql for _, _, _, sql, _ in found]
        list(several.map(lambda sql: server.execute(database, _SETTINGS + sql), made))
    for table, _, name, _, constraint in found:
        if constraint:
            constraint = f"{_KINDS[constraint]} USING INDEX {name}"
            server.execute(database, f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint}")

"""Fills the registry's table of certificates by one INSERT … SELECT (registry_table.sql): a lower
bound for any program that folds.

It derives every row and column of `views.certificates` from the journal's envelopes, into a table
with the same primary key and indexes. Columns that need a key get substitutes: a plain hash of the
same length for the secret of a link and for indexes, a star for masked names and numbers. The other
five tables of the view are not filled.
"""

from pathlib import Path

from domain import events as e
from scripts.benchmarks.server import Server

NAME = "views.bench_certificates"

_FACTS = (
    e.LedgerOpened,
    e.ApplicationOpened,
    e.PersonRegistered,
    e.PersonCorrected,
    e.ResultPublished,
    e.CertificateNumbered,
    e.CertificateIssued,
    e.CertificateReported,
    e.CertificateAccepted,
    e.CertificateRejected,
    e.CertificateVisible,
    e.CertificateCorrected,
    e.CertificateReissued,
    e.CertificateSuspended,
    e.CertificateReinstated,
    e.CertificateRevoked,
)
_TOPICS = ", ".join(f"'{fact.TOPIC}'" for fact in _FACTS)
_INSERT = Path(__file__).with_name("registry_table.sql").read_text(encoding="utf-8")
# The memory of a rebuild, no JIT, and a fixed plan: the planner cannot estimate the rows of each
# fact, and nested loops would take far too long.
_SETTINGS = (
    "SET work_mem = '64MB'; SET jit = off; SET enable_nestloop = off; SET enable_mergejoin = off;"
)


def prepare(server: Server, database: str) -> None:
    """Create an empty table like the live one, including indexes."""
    [(number,)] = server.execute(
        database, "SELECT generation FROM views.generations WHERE view = 'certificate_registry'"
    )
    server.execute(
        database,
        f"DROP TABLE IF EXISTS {NAME}; "
        f"CREATE TABLE {NAME} (LIKE views.certificates_g{number} INCLUDING ALL)",
    )


def fill(server: Server, database: str) -> None:
    """Run the statement."""
    server.execute(database, _SETTINGS + _INSERT.replace("%(topics)s", f"ARRAY[{_TOPICS}]"))

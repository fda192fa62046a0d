"""The registry's table of certificates made by one INSERT … SELECT (registry_table.sql), of which
nothing that folds in a program can be faster.

From the journal's envelopes it makes every row and column of `views.certificates`, in a table with
the same primary key and indexes. What cannot be made without a key is not: a plain hash of the same
length stands for the secret of a link, a star for what is masked of a name and of a number. The
other five tables of the view are not made.
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
# Memory as a rebuild has it, no time spent on compiling; and the plan that is right: how many rows
# there are of each fact is not to be guessed from outside, and nested loops would take for ever.
_SETTINGS = (
    "SET work_mem = '64MB'; SET jit = off; SET enable_nestloop = off; SET enable_mergejoin = off;"
)


def prepare(server: Server, database: str) -> None:
    """An empty table like the one in force, indexes included."""
    [(number,)] = server.execute(
        database, "SELECT generation FROM views.generations WHERE view = 'certificate_registry'"
    )
    server.execute(
        database,
        f"DROP TABLE IF EXISTS {NAME}; "
        f"CREATE TABLE {NAME} (LIKE views.certificates_g{number} INCLUDING ALL)",
    )


def fill(server: Server, database: str) -> None:
    """The one statement."""
    server.execute(database, _SETTINGS + _INSERT.replace("%(topics)s", f"ARRAY[{_TOPICS}]"))

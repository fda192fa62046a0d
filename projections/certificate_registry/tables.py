"""The tables of the certificate registry; view.py fills them."""

from projections.certificate_registry import public_record
from projections.engine.tables import Table
from projections.masking import PERSON_COLUMNS

LEDGER = Table(
    "certificate_book",
    {
        "name": "id",  # always "ledger": one row for each ledger
        "organisation_name": "text",
        "issuer_name": "text",
        "site_code": "text",
        "position": "bigint",
    },
    key=("name",),
)
PEOPLE = Table(
    "certificate_people",
    {
        **PERSON_COLUMNS,
        "name_index": "id?",
        "document_index": "id?",
        "passport_index": "id?",  # of a passport's number without its country
        "certificates": "ids",  # the person's certificate numbers, in order of allocation
        "position": "bigint",
    },
    key=("person_id",),
    secret=frozenset({"name_index", "document_index", "passport_index"}),
)
APPLICATIONS = Table(
    "certificate_applications",
    {
        "application_id": "id",
        "occupation": "id",
        "occupation_name": "text",
        "edition": "text",
        "level": "int",
        "job_type": "text?",
        "theory": "text?",
        "practical": "text?",
    },
    key=("application_id",),
)
CERTIFICATES = Table(
    "certificates",
    {
        "application_id": "id",
        "kind": "id",  # national, omc
        "number": "id",
        "person_id": "id",
        "holder_position": "bigint",  # of the event that the columns down to the indexes are from
        "masked_name": "text",
        "masked_number": "text",
        "document_type": "id",
        "name_index": "id?",
        "document_index": "id?",
        "passport_index": "id?",
        "organisation_name": "text?",
        "issuer_name": "text?",
        "source": "id",  # allocated, imported
        "occupation": "id",
        "occupation_name": "text",
        "edition": "text",
        "level": "int",
        "job_type": "text?",
        "theory": "text?",
        "practical": "text?",
        "issued": "bool",
        "issued_on": "day?",
        "progress": "id",  # numbered, issued, reported, accepted, rejected, visible
        "seen_province_on": "day?",
        "seen_nation_on": "day?",
        "report_id": "id?",
        "standing": "id",  # valid, suspended, revoked
        "reason_class": "id?",  # of a revocation
        "version": "int",
        "reissued_on": "day?",
        "current_since": "time",  # of the standing and version
        "verify_token": "id?",
        "position": "bigint",  # of the event that led to this state
        "changed_at": "time",
        "history_sha256": "id",  # of all its states
        "answer": "text?",
        "seal": "id?",
    },
    # Not by application: after a certificate issued in error it gets another number.
    key=("number", "kind"),
    # Lookups span all ledgers, so these indexes begin with the key that is looked up.
    indexes=(
        "(number)",
        "(verify_token)",
        "(document_index)",
        "(passport_index) WHERE passport_index IS NOT NULL",
        "(ledger, application_id)",
        "(ledger, issued_on, level, occupation)",
    ),
    # So that a lookup needs no other table.
    derived={"answer": public_record.encode},
    sealed=public_record.sealed,
    secret=frozenset({"verify_token", "name_index", "document_index", "passport_index", "seal"}),
)
STATES = Table(
    "certificate_states",
    {
        "application_id": "id",
        "kind": "id",
        "number": "id",
        "position": "bigint",
        "event": "id",  # the stem of the topic
        "progress": "id",
        "standing": "id",
        "reason_class": "id?",
        "version": "int",
        "issued_on": "day?",
        "occurred_at": "time",
        "recorded_at": "time",
    },
    key=("number", "kind", "position"),
    kind="log",
)
OLD_TOKENS = Table(
    "certificate_old_tokens",  # of replaced versions and retired keys, besides `certificates`
    {
        "number": "id",
        "kind": "id",
        "version": "int",
        "token": "id",
        "position": "bigint",  # of the event that replaced it, or that issued the version
        "seal": "id?",
    },
    key=("number", "kind", "version", "token"),
    kind="log",
    indexes=("(token)",),
    sealed=public_record.sealed_link,
    secret=frozenset({"token", "seal"}),
)

"""The tables of the certificate registry; what fills them stands in certificate_registry.py."""

from projections.certificate_registry import public_record as public_answer
from projections.engine.view import Table

BOOK = Table(
    "certificate_book",
    {
        "name": "id",  # always "ledger": one book a ledger
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
        "person_id": "id",
        "masked_name": "text",
        "masked_number": "text",
        "document_type": "id",
        "name_index": "id?",
        "document_index": "id?",
        "index_algorithm": "id?",  # of both indexes; kept when they are gone
        "certificates": "ids",  # their numbers, as they were numbered
        "position": "bigint",
    },
    key=("person_id",),
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
        "masked_name": "text",  # of the person, as everything up to the indexes
        "masked_number": "text",
        "document_type": "id",
        "name_index": "id?",
        "document_index": "id?",
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
        "current_since": "time",  # since when it stands as it does
        "verify_token": "id?",
        "token_algorithm": "id?",
        "position": "bigint",  # of the event that brought it into this state
        "changed_at": "time",
        "answer": "text?",
    },
    # Not by application: one whose certificate was issued in error gets another number.
    key=("number", "kind"),
    # Looked up across ledgers: these begin with what is asked for.
    indexes=(
        "(number)",
        "(verify_token)",
        "(document_index)",
        "(ledger, application_id)",
        "(ledger, issued_on, level, occupation)",
    ),
    # A lookup then needs no other table.
    made={"answer": public_answer.written},
)
STATES = Table(
    "certificate_states",
    {
        "application_id": "id",
        "kind": "id",
        "number": "id",
        "position": "bigint",
        "event": "id",  # what happened: the stem of the topic
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
    "certificate_old_tokens",  # of versions that were replaced; today's stands in certificates
    {
        "number": "id",
        "kind": "id",
        "version": "int",
        "token": "id",
        "position": "bigint",  # of what replaced it
    },
    key=("number", "kind", "version"),
    kind="log",
    indexes=("(token)",),
)

"""The tables of the certificate registry; view.py fills them."""

from domain import events as e
from projections.certificate_registry import public_record
from projections.engine.tables import Follows, Table, whole_row
from projections.masking import PERSON_COLUMNS

_OF_PERSONS = frozenset(fact.TOPIC for fact in (*e.REGISTRATION, e.PersonCorrected, *e.ERASURE))
_OF_CERTIFICATES = frozenset(
    fact.TOPIC
    for fact in (
        *(e.CertificateNumbered, e.CertificateIssued, e.CertificateReported),
        *(e.CertificateAccepted, e.CertificateRejected, e.CertificateVisible),
        *(e.CertificateCorrected, e.CertificateReissued, e.CertificateSuspended),
        *(e.CertificateReinstated, e.CertificateRevoked),
    )
)
_OF_APPLICATIONS = frozenset({e.ApplicationOpened.TOPIC, e.ResultPublished.TOPIC})

_LEDGER_COLUMNS = {
    "name": "id",  # always "ledger": one row for each ledger
    "organisation_name": "text",
    "issuer_name": "text",
    "site_code": "text",
    "position": "bigint",
    "seal": "id?",
}
LEDGER = Table(
    "certificate_book",
    _LEDGER_COLUMNS,
    key=("name",),
    sealed=whole_row("book", _LEDGER_COLUMNS),  # of one event: there is no earlier row
    secret=frozenset({"seal"}),
)
_INDEXES = frozenset({"name_index", "document_index", "passport_index"})
_PEOPLE_COLUMNS = {
    **PERSON_COLUMNS,
    "name_index": "id?",
    "document_index": "id?",
    "passport_index": "id?",  # of a passport's number without its country
    "certificates": "ids",  # the person's certificate numbers, in order of allocation
    "position": "bigint",  # of the event that all but the list of numbers is from
    "seal": "id?",
}
PEOPLE = Table(
    "certificate_people",
    _PEOPLE_COLUMNS,
    key=("person_id",),
    sealed=whole_row("person", _PEOPLE_COLUMNS),
    follows=(Follows("person", "person_id", "position", _OF_PERSONS),),
    blind_indexes=_INDEXES,
    secret=_INDEXES | {"seal"},
)
_DESCRIBED_COLUMNS = {
    "occupation": "id",
    "occupation_name": "text",
    "edition": "text",
    "level": "int",
    "job_type": "text?",
    "theory": "text?",
    "practical": "text?",
}
"""What a certificate's row repeats of its application."""
_APPLICATIONS_COLUMNS = {
    "application_id": "id",
    **_DESCRIBED_COLUMNS,
    "position": "bigint",
    "seal": "id?",
}
APPLICATIONS = Table(
    "certificate_applications",
    _APPLICATIONS_COLUMNS,
    key=("application_id",),
    sealed=whole_row("application", _APPLICATIONS_COLUMNS),
    follows=(Follows("application", "application_id", "position", _OF_APPLICATIONS),),
    secret=frozenset({"seal"}),
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
        **_DESCRIBED_COLUMNS,
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
    follows=(
        Follows("application", "application_id", "position", _OF_CERTIFICATES, ("number", "kind")),
        Follows("person", "person_id", "holder_position", _OF_PERSONS),
    ),
    blind_indexes=_INDEXES,
    secret=_INDEXES | {"verify_token", "seal"},
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

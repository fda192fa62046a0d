"""Errors of the store: refusals and failures.

A refusal is about the request (a stale version, a taken claim, a reused key), a failure about the
environment (no server, no answer in time). The docstring of a class is its message. Reading order:
the envelope, the append, the service, the set-up.
"""

from domain.errors import LedgerError


class StoreError(LedgerError):
    """The journal could not do what was asked: {reason}"""

    code = "store_error"


# --- the envelope --------------------------------------------------------------------------------


class NotCanonical(StoreError):
    """This value has no canonical JSON form: {path} {reason}"""

    code = "not_canonical"


class EnvelopeTooLarge(StoreError):
    """An event may take {limit_bytes} bytes, this one takes {size_bytes} (topic {topic})."""

    code = "envelope_too_large"


class UnknownTopic(StoreError):
    """No event class is registered for the topic {topic}."""

    code = "unknown_topic"


class UnreadableEvent(StoreError):
    """The stored event at {where} does not fit its topic {topic}: {reason}"""

    code = "unreadable_event"


# --- the append ----------------------------------------------------------------------------------


class StaleStream(StoreError):
    """Stream {stream} is at version {actual}; version {expected} was to be written."""

    code = "stale_stream"


class ClaimTaken(StoreError):
    """{kind} {key} is already taken, since position {position}."""

    code = "claim_taken"


class ClaimNotHeld(StoreError):
    """{kind} {key} cannot be released: nobody holds it."""

    code = "claim_not_held"


class IdempotencyKeyReused(StoreError):
    """This idempotency key was already used for another request."""

    code = "idempotency_key_reused"


class IdempotencyKeyExpired(StoreError):
    """This idempotency key was used long ago, for what was recorded up to position {position}.

    Nobody can tell any more whether this request is the same.
    """

    code = "idempotency_key_expired"


class TrackingBehind(StoreError):
    """View {view} has already reached position {actual}; position {expected} is not ahead of it."""

    code = "tracking_behind"


class RejectedByDatabase(StoreError):
    """The database rejected the events: {reason}"""

    code = "rejected_by_database"


# --- the service ---------------------------------------------------------------------------------


class Overloaded(StoreError):
    """Ledger {ledger} has {waiting} commands waiting; try again later."""

    code = "overloaded"


class DeadlineExceeded(StoreError):
    """The command waited {waited_ms} ms and was not begun; nothing was recorded."""

    code = "deadline_exceeded"


class Unavailable(StoreError):
    """The journal of ledger {ledger} cannot be reached at the moment; nothing was changed."""

    code = "journal_unavailable"


class OutcomeUnknown(StoreError):
    """Whether command {command_id} was recorded is not known yet; ask again with the same key."""

    code = "outcome_unknown"


class Closed(StoreError):
    """The journal of ledger {ledger} is being closed."""

    code = "journal_closed"


# --- seals and keys ------------------------------------------------------------------------------


class SealBroken(StoreError):
    """The {what} at position {position} of ledger {ledger} has no right seal; nothing is shown."""

    code = "seal_broken"


class ViewWrong(StoreError):
    """The view {view} has rows that the events did not make; they are not shown."""

    code = "view_wrong"


class PersonClaimsWrong(StoreError):
    """Ledger {ledger} finds persons by rows that the events did not make; nobody is shown."""

    code = "person_claims_wrong"


class RecordOutdated(StoreError):
    """The registry has not taken up the last change of this certificate; ask again in a moment."""

    code = "record_outdated"


class NoJournalKey(StoreError):
    """Ledger {ledger} was opened without the journal key: it can be read, and not written."""

    code = "no_journal_key"


class CommandKeyMissing(StoreError):
    """Ledger {ledger} has this request under command key {key_id}, which is not here."""

    code = "command_key_missing"


class WrongServiceKey(StoreError):
    """wrong_key:{purpose}: ledger {ledger} names {expected}, the key of this service is {key_id}"""

    code = "wrong_service_key"


# --- the set-up ----------------------------------------------------------------------------------


class UnknownLedger(StoreError):
    """There is no ledger {ledger}."""

    code = "unknown_ledger"


class InvalidLedgerName(StoreError):
    """{ledger} is not a ledger name: it has {form}."""

    code = "invalid_ledger_name"


class ReservedLedgerName(StoreError):
    """{ledger} is a reserved name; an evaluation organisation's ledger has another."""

    code = "reserved_ledger_name"


class SiteCodeTaken(StoreError):
    """Site code {site_code} belongs to another ledger."""

    code = "site_code_taken"


class MigrationChanged(StoreError):
    """Migration {name} was changed after it had been applied; add a new migration instead."""

    code = "migration_changed"


class DatabaseTooNew(StoreError):
    """The database has migration {number}, which this program does not know; upgrade it."""

    code = "database_too_new"


class DatabaseNotUnicode(StoreError):
    """The database keeps text as {encoding}; events keep their exact bytes in UTF8 only."""

    code = "database_not_unicode"


class WrongKey(StoreError):
    """A sealed value cannot be opened: {reason}"""

    code = "wrong_key"


class WrongEpochKey(WrongKey):
    """wrong_key:epoch: {reason}"""

    code = "wrong_epoch_key"


class FileKeyChanged(StoreError):
    """The key that the file was sealed under is not in use any more; send the request again."""

    code = "file_key_changed"


class BlobDamaged(StoreError):
    """The stored attachment {sha256} no longer has that hash."""

    code = "blob_damaged"


class UnknownBlob(StoreError):
    """There is no attachment {sha256}."""

    code = "unknown_blob"


class LogNotContinued(StoreError):
    """Ledger {ledger} takes no commands: its journal does not continue its log. Nothing changed."""

    code = "log_not_continued"


class LogDiffers(StoreError):
    """The journal of ledger {ledger} does not continue its log: {reason}"""

    code = "log_differs"


class ErasuresMissing(StoreError):
    """Ledger {ledger} lacks erasures that were done once, and is not served until they are again.

    It was restored from before them; the register of erasures has them.
    """

    code = "erasures_missing"


class HeadExists(StoreError):
    """{place} keeps another head of size {size}, and a head is never overwritten."""

    code = "head_exists"


class HeadPlaceSilent(StoreError):
    """The place of heads {place} does not answer: {reason}"""

    code = "head_place_silent"


class BadNote(StoreError):
    """This is not a signed note that can be trusted: {reason}"""

    code = "bad_note"

"""Errors of the HTTP interface: caller, form of the request, idempotency, reads, the service.

Errors of certification rules are defined next to each rule.
"""

from domain.errors import LedgerError

# --- the caller ----------------------------------------------------------------------------------


class RoleNotAllowed(LedgerError):
    """The role {role} may not do this."""

    code = "role_not_allowed"


class LedgerNotInToken(LedgerError):
    """The token is not valid for ledger {ledger}."""

    code = "ledger_not_in_token"


class BackfillNotAllowed(LedgerError):
    """Only a token with the claim backfill may say when something occurred."""

    code = "backfill_not_allowed"


# --- the request's form --------------------------------------------------------------------------


class BadRequest(LedgerError):
    """The request is not well formed."""

    code = "bad_request"


class MalformedJson(LedgerError):
    """The body is not JSON."""

    code = "malformed_json"


class JsonKeyTwice(LedgerError):
    """The key {pointer} appears twice in the body."""

    code = "json_key_twice"


class SearchNeedsName(LedgerError):
    """An agency searches by name and document together."""

    code = "search_needs_name"


class ControlCharacter(LedgerError):
    """The body holds a control character; only tabs and line breaks are taken."""

    code = "control_character"


class JsonTooDeep(LedgerError):
    """The body nests more than {levels_max} levels deep."""

    code = "json_too_deep"


class MalformedMultipart(LedgerError):
    """The body is not a multipart form that can be read."""

    code = "malformed_multipart"


class UploadMissing(LedgerError):
    """The form has no file in its field {field}."""

    code = "upload_missing"


class FieldInvalid(LedgerError):
    """The form's field {field} is not what it must be."""

    code = "field_invalid"


class BodyTooLarge(LedgerError):
    """A body here may have {bytes_max} bytes."""

    code = "body_too_large"


class MediaTypeUnsupported(LedgerError):
    """The body must be of one of these types: {wanted}."""

    code = "media_type_unsupported"


class InvalidRequest(LedgerError):
    """{count} values of the request are not what they must be."""

    code = "invalid_request"


class UnknownParameter(LedgerError):
    """This address takes no parameter {name}; those it takes: {allowed}."""

    code = "unknown_parameter"


class RouteNotFound(LedgerError):
    """There is nothing at this address."""

    code = "route_not_found"


class MethodNotAllowed(LedgerError):
    """This address does not take that method."""

    code = "method_not_allowed"


# --- idempotency and time ------------------------------------------------------------------------


class IdempotencyKeyMissing(LedgerError):
    """Every write carries an Idempotency-Key."""

    code = "idempotency_key_missing"


class IdempotencyKeyMalformed(LedgerError):
    """The Idempotency-Key must be 1 to {length_max} printable ASCII characters."""

    code = "idempotency_key_malformed"


class RequestInProgress(LedgerError):
    """A request with this Idempotency-Key is being carried out."""

    code = "request_in_progress"


class OccurredAtMalformed(LedgerError):
    """Occurred-At must be an RFC 3339 time with an offset."""

    code = "occurred_at_malformed"


# --- reading -------------------------------------------------------------------------------------


class CursorInvalid(LedgerError):
    """The cursor is not one that this list gave."""

    code = "cursor_invalid"


class AsOfInvalid(LedgerError):
    """as_of must be a position or an RFC 3339 time that is not in the future."""

    code = "as_of_invalid"


class LookupNeedsTwo(LedgerError):
    """A lookup needs two of certificate number, name and document number."""

    code = "lookup_needs_two"


class LookupsTooFast(LedgerError):
    """Too many lookups came from this address; the next one in {seconds} seconds."""

    code = "lookups_too_fast"


class TooManyRows(LedgerError):
    """More than {rows_max} rows; ask for a shorter time."""

    code = "too_many_rows"


class ViewBehind(LedgerError):
    """The view has not come to position {position} yet."""

    code = "view_behind"


class ViewBeingMade(LedgerError):
    """This version is rebuilding the view; it can't be read until that is done."""

    code = "view_being_made"


class ReadTimeout(LedgerError):
    """The answer was not found in time."""

    code = "read_timeout"


# --- the service itself --------------------------------------------------------------------------


class ServerBusy(LedgerError):
    """The service has as many requests as it can serve; try again shortly."""

    code = "server_busy"


class DatabaseUnreachable(LedgerError):
    """The database can't be reached at the moment; nothing was changed."""

    code = "database_unreachable"


class InternalError(LedgerError):
    """Something went wrong on our side; the trace id finds it in our logs."""

    code = "internal_error"

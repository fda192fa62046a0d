"""Base class of every refusal.

Each package defines its own errors next to the rules that raise them. No error knows an HTTP
status: the one table of statuses is `api.errors.problem_details.STATUS`.
"""

from typing import Any, ClassVar


class LedgerError(Exception):
    """The request could not be carried out."""

    # Stable code that clients match on: lower_snake, set by every subclass, never renamed.
    code: ClassVar[str] = "ledger_error"

    def __init__(self, **fields: Any) -> None:
        """Create the error with its fields.

        fields: what the message and the caller need, by name. Responses and logs contain them, so
            they never carry a name, a document number or a secret.
        The message is the first line of the class docstring with `{field}` filled in, so that
        documentation and message cannot diverge.
        Raises: TypeError if the message names a missing field.
        """
        self.fields: dict[str, Any] = dict(fields)
        # A subclass does not inherit its parent's docstring, and -OO removes all docstrings.
        lines = (type(self).__doc__ or LedgerError.__doc__ or self.code).strip().splitlines()
        template = lines[0]
        try:
            message = template.format(**fields)
        except (KeyError, IndexError) as missing:
            raise TypeError(f"{type(self).__name__} needs the field {missing}") from None
        super().__init__(message)

    def __getattr__(self, name: str) -> Any:
        """A field as an attribute: `error.reason` for `error.fields["reason"]`."""
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException pickles the message only; the fields must survive a queue between processes.
        return _rebuild, (type(self), self.fields)


def _rebuild(kind: type[LedgerError], fields: dict[str, Any]) -> LedgerError:
    """Recreate an error after pickling or copying."""
    return kind(**fields)

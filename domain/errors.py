"""The root of every refusal this ledger makes.

Only the base lives here; each room keeps its own errors beside the rule that raises them.
No error knows an HTTP status: the one table of statuses is in the api room.
"""

from typing import Any, ClassVar


class LedgerError(Exception):
    """The request could not be carried out."""

    # The stable name programs match on: lower_snake, set anew by every subclass, never renamed.
    code: ClassVar[str] = "ledger_error"

    def __init__(self, **fields: Any) -> None:
        """Say what is wrong, in typed fields.

        fields: everything the message and the caller need, by name. They are shown to callers
            and written to logs, so they never carry a name, a document number or a secret.
        The message is the first line of the class docstring with `{field}` filled in, so the
        documentation and the message cannot drift apart.
        Raises: TypeError if the message names a field that was not given.
        """
        self.fields: dict[str, Any] = dict(fields)
        # Python gives a subclass no docstring of its parent, and -OO gives none to anybody.
        lines = (type(self).__doc__ or LedgerError.__doc__ or self.code).strip().splitlines()
        template = lines[0]
        try:
            message = template.format(**fields)
        except (KeyError, IndexError) as missing:
            raise TypeError(f"{type(self).__name__} needs the field {missing}") from None
        super().__init__(message)

    def __getattr__(self, name: str) -> Any:
        """A field by its name, `error.reason` for `error.fields["reason"]`."""
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would rebuild from the message alone; the fields must survive a queue.
        return _rebuild, (type(self), self.fields)


def _rebuild(kind: type[LedgerError], fields: dict[str, Any]) -> LedgerError:
    """The error again after pickling or copying."""
    return kind(**fields)

"""Which pseudonym a login has in a ledger; what a command and a read learn about a login.

A pseudonym is drawn for the first command that names a login, and its row is inserted in the same
transaction. The head lock makes two services agree: the second one finds the row of the first.
Reading order: Logins, then LoginsOfCommand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

from domain.actors import Actor, Role, is_named
from domain.decision import Naming, stream_of
from domain.service.named_actors import NamedActors
from domain.store.errors import SealBroken
from domain.store.journal.journal import Journal
from domain.store.journal.logins import LoginRow, new_pseudonym, sealed_row
from domain.store.keys.login_keys import LoginKeys, LoginName
from domain.store.privacy.index_ciphers import StoredIndexes
from domain.store.writer.commands import BatchView
from domain.values.logins import is_service, normal_form

_UNASKED = "?"
"""No pseudonym."""

CACHED_MAX = 100_000
"""Logins whose pseudonym is in memory, about 300 bytes each."""


class KnownLogin(NamedTuple):
    """What is committed of a login.

    is_staff: it has acted as staff, so that its row stays, and a fact names who it is.
    """

    pseudonym: str
    is_staff: bool = False


class Logins:
    """The logins of one ledger. Thread-safe.

    Only rows that are committed and have a right seal are cached. A row never changes, so that
    what is cached of staff holds for ever. The row of a candidate goes with their erasure, perhaps
    in another process: it is read again for whatever depends on it, by a command in the message
    that reads everything else, by `find` with a query.
    """

    def __init__(
        self, journal: Journal, keys: LoginKeys, named: NamedActors, indexes: StoredIndexes
    ) -> None:
        self.keys = keys
        self.named = named
        self._indexes = indexes
        self._journal = journal
        self._cached: OrderedDict[str, KnownLogin] = OrderedDict()
        self._lock = Lock()

    def names(self, login: str) -> tuple[LoginName, ...]:
        """The names of a login's rows, the one to write first.

        Raises: WrongEpochKey, psycopg2.Error.
        """
        return self._indexes.logins(self.keys.names(self._journal.ledger, login))

    def epochs(self) -> tuple[int, ...]:
        """Of the names: the epoch to write under, then all. Raises: as `names`."""
        return self._indexes.epochs()

    def cached(self, login: str) -> KnownLogin | None:
        """What is cached of a login. A name of the service is its own pseudonym."""
        if is_service(login):
            return KnownLogin(login, is_staff=True)
        return self._cached.get(normal_form(login))

    def find(self, login: str) -> str | None:
        """The pseudonym of a login; None if no command has named it yet. Writes nothing.

        Raises: SealBroken, Unavailable.
        """
        known = self.cached(login)
        if known is not None and known.is_staff:
            return known.pseudonym
        rows = self._journal.logins(self.names(login))
        return rows[0].pseudonym if rows else None

    def remember(self, login: str, known: KnownLogin) -> None:
        """Cache what is committed."""
        name = normal_form(login)
        with self._lock:
            earlier = self._cached.get(name)
            if earlier is not None and earlier.pseudonym == known.pseudonym:
                # Who has acted as staff may act as a candidate, too.
                known = known._replace(is_staff=known.is_staff or earlier.is_staff)
            self._cached[name] = known
            while len(self._cached) > CACHED_MAX:
                self._cached.popitem(last=False)

    def clear(self) -> None:
        """Drop everything that is cached."""
        with self._lock:
            self._cached.clear()
        self.named.clear()


class LoginsOfCommand:
    """The logins that one command names: guessed before its batch, found in it.

    rows: to insert with the command, of the logins that it is the first to name.
    """

    def __init__(self, logins: Logins) -> None:
        self.rows: list[LoginRow] = []
        self._logins = logins
        self._guesses: dict[str, KnownLogin] = {}
        self._drawn: set[str] = set()
        self._unsettled: dict[str, tuple[LoginName, ...]] = {}
        self._epochs: tuple[int, ...] = ()  # of their names
        self._found: dict[str, KnownLogin] = {}
        self._earlier: str | None = _UNASKED

    @property
    def names(self) -> tuple[LoginName, ...]:
        """The rows that the command has to read; none if every guess is known to be right."""
        return tuple(name for names in self._unsettled.values() for name in names)

    def guess_actor(self, actor: Actor) -> str:
        """The pseudonym of who sends the command, as far as it is cached."""
        return self.guess(actor.subject, is_staff=actor.role is not Role.CANDIDATE)

    def find_actor(self, actor: Actor, view: BatchView) -> str:
        """The pseudonym of who sends the command, in a batch. Raises: SealBroken."""
        return self.find(actor.subject, view, is_staff=actor.role is not Role.CANDIDATE)

    def guess(self, login: str, *, is_staff: bool = False) -> str:
        """The pseudonym as it is cached, else a new one. is_staff: of the actor, by their role."""
        login = normal_form(login)  # a command may name one person in two spellings
        guess = self._guesses.get(login)
        if guess is None:
            known = self._logins.cached(login)
            if known is None:
                self._drawn.add(login)
            guess = self._guesses[login] = known or KnownLogin(new_pseudonym(), is_staff)
            if known is None or not (is_staff and known.is_staff):
                self._epochs = self._epochs or self._logins.epochs()
                self._unsettled[login] = self._logins.names(login)
        return guess.pseudonym

    def guess_naming(self, actor: Actor, name: str | None) -> Naming | None:
        """Who is to be named by a fact with this command, as far as it is known by now.

        actor: named by their login. name: of the person, None if it is not known.
        """
        if not is_named(actor.subject, actor.role):
            return None
        known = self._logins.cached(actor.subject)
        is_known = known is not None and known.is_staff
        return None if is_known else Naming(actor.subject, name)

    def find_naming(self, actor: Actor, name: str | None, view: BatchView) -> Naming | None:
        """Who is to be named by a fact with this command, in its batch.

        Raises: SealBroken for a login that a fact names already, under another pseudonym.
        """
        naming = self.guess_naming(actor, name)
        pseudonym = self.find_actor(actor, view)
        if naming is None or view.version(stream_of("actor", pseudonym)) > 0:
            return None
        earlier = self._named(actor.subject)
        if earlier is not None and earlier != pseudonym:
            raise SealBroken(ledger=view.sealer.ledger, what="login", position=view.position)
        return naming

    def begin(self, view: BatchView) -> None:
        """Forget the last execution: a batch is executed again if its commit failed.

        A command may have waited for so long that logins have come under another epoch.
        """
        self.rows.clear()
        self._found.clear()
        self._earlier = _UNASKED
        if self._unsettled and (epochs := self._logins.epochs()) != self._epochs:
            self._epochs = epochs
            self._unsettled = {login: self._logins.names(login) for login in self._unsettled}
            view.read_logins(self.names)

    def find(self, login: str, view: BatchView, *, is_staff: bool = False) -> str:
        """The pseudonym in a batch; adds to `rows` if there is none under the name to write.

        Raises: SealBroken.
        """
        login = normal_form(login)
        guess = self.guess(login, is_staff=is_staff)
        if login not in self._unsettled:
            return guess
        found = self._found.get(login)
        if found is None:
            pseudonym = self._find(login, guess, view, is_staff)
            found = self._found[login] = KnownLogin(pseudonym, is_staff)
        return found.pseudonym

    def _find(self, login: str, guess: str, view: BatchView, is_staff: bool) -> str:
        active, *others = self._unsettled[login]
        row = view.login(active)
        if row is not None:
            return row.pseudonym
        old = next((found for name in others if (found := view.login(name)) is not None), None)
        # A guess that was cached is the pseudonym of somebody whose row has gone since.
        fresh = guess if login in self._drawn else new_pseudonym()
        # Of staff whose row was lost, a fact has the pseudonym; new staff are few.
        named = self._named(login) if is_staff and old is None else None
        row = sealed_row(active, named or (fresh if old is None else old.pseudonym), view.sealer)
        self.rows.append(row)
        return row.pseudonym

    def _named(self, login: str) -> str | None:
        """The pseudonym under which a committed fact names a login; asked once a command."""
        if self._earlier is _UNASKED:
            self._earlier = self._logins.named.pseudonym_of(login)
        return self._earlier

    @staticmethod
    def forgettable(pseudonyms: Iterable[str], actor: Actor, view: BatchView) -> tuple[str, ...]:
        """Those whose rows go with an erasure.

        Not of who has acted as staff, if only by this command: they would be another person for
        every rule that needs two. actor: named by their pseudonym.
        """
        acting = None if actor.role is Role.CANDIDATE else actor.subject
        return tuple(
            each for each in pseudonyms if each != acting and not view.acted_as_staff(each)
        )

    def committed(self, *, is_replayed: bool) -> None:
        """The command is committed: cache what it found and wrote.

        is_replayed: it was recorded before, perhaps in another role than this time's.
        """
        for login, known in self._found.items():
            self._logins.remember(login, known._replace(is_staff=False) if is_replayed else known)


@lru_cache(4096)  # one actor sends many commands
def pseudonymous(actor: Actor, pseudonym: str) -> Actor:
    """The actor under their pseudonym."""
    return actor.model_copy(update={"subject": pseudonym})

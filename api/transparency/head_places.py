"""The places of heads that the settings name: directories, and addresses that speak HTTP.

An address keeps heads under `<address>/<sha256 of the origin>/<size>`. `PUT` of a note answers 2xx,
also for the note that is there already, and 409 for another one; `GET` answers the note or 404.
`GET <address>/<sha256 of the origin>/?after=N` lists the sizes that are kept, one a line; it may
ignore `after`. Reading order: own_place, other_places, AddressPlace, PatientPlace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

from api.settings import Settings
from domain.store.errors import HeadExists, HeadPlaceSilent
from domain.store.tlog.heads import DirectoryPlace, HeadPlace, folder_of, is_size

TIMEOUT_S = 3.0
"""How long an address may take to answer, seconds."""

RETRY_S = 15.0
"""A place that did not answer is asked again after so long, seconds."""

SILENT_S = 600.0
"""A place that has not answered for so long is reported, seconds."""

_LIST_BYTES_MAX = 8_000_000

T = TypeVar("T")


def own_place(settings: Settings) -> HeadPlace:
    """The place in the data directory."""
    return DirectoryPlace(settings.data_dir.expanduser().absolute() / "heads", make=True)


def other_places(settings: Settings) -> list[PatientPlace]:
    """The places of the setting `head_places`."""
    return [
        PatientPlace(
            AddressPlace(address)
            if address.startswith(("http://", "https://"))
            else DirectoryPlace(Path(address).expanduser().absolute())
        )
        for address in settings.head_place_list
    ]


class AddressPlace:
    """Heads at an address; see `HeadPlace`."""

    def __init__(self, address: str) -> None:
        """address: of https, or of http on this machine."""
        self._address = address.rstrip("/")
        self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)

    @property
    def name(self) -> str:
        """The address."""
        return self._address

    def sizes(self, origin: str, after: int = 0) -> list[int]:
        """See HeadPlace."""
        answer = self._ask("GET", f"{folder_of(origin)}/?after={after}")
        if answer.status_code == 404:
            return []
        lines = self._checked(answer).text.split()
        if len(answer.content) > _LIST_BYTES_MAX or not all(map(is_size, lines)):
            raise HeadPlaceSilent(place=self.name, reason="its list of heads is malformed")
        return sorted(size for size in map(int, lines) if size > after)

    def read(self, origin: str, size: int) -> str | None:
        """See HeadPlace."""
        answer = self._ask("GET", f"{folder_of(origin)}/{size}")
        return None if answer.status_code == 404 else self._checked(answer).text

    def write(self, origin: str, size: int, note: str) -> None:
        """See HeadPlace."""
        answer = self._ask("PUT", f"{folder_of(origin)}/{size}", note)
        if answer.status_code == 409:
            raise HeadExists(size=size, place=self.name)
        self._checked(answer)

    def remove_old(self, origin: str, now: float | None = None) -> None:
        """Nothing: what an address removes is its own affair."""

    def _ask(self, method: str, path: str, text: str | None = None) -> httpx.Response:
        headers = {"Content-Type": "text/plain; charset=utf-8"} if text is not None else {}
        content = None if text is None else text.encode()
        try:
            url = f"{self._address}/{path}"
            return self._client.request(method, url, content=content, headers=headers)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise HeadPlaceSilent(place=self.name, reason=reason) from error

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if not answer.is_success:
            raise HeadPlaceSilent(place=self.name, reason=f"it answers {answer.status_code}")
        return answer


class PatientPlace:
    """A place that is left alone for RETRY_S after it did not answer; see `HeadPlace`.

    Otherwise one silent place would keep the heads of all ledgers from the others.
    """

    def __init__(self, place: HeadPlace, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self._place = place
        self._clock = clock
        self._answered = clock()
        self._failure: tuple[float, HeadPlaceSilent] | None = None

    @property
    def name(self) -> str:
        """The name of the place."""
        return self._place.name

    @property
    def is_silent(self) -> bool:
        """Whether the place has not answered for SILENT_S."""
        return self._failure is not None and self._clock() - self._answered >= SILENT_S

    def sizes(self, origin: str, after: int = 0) -> list[int]:
        """See HeadPlace."""
        return self._asked(lambda: self._place.sizes(origin, after))

    def read(self, origin: str, size: int) -> str | None:
        """See HeadPlace."""
        return self._asked(lambda: self._place.read(origin, size))

    def write(self, origin: str, size: int, note: str) -> None:
        """See HeadPlace."""
        self._asked(lambda: self._place.write(origin, size, note))

    def remove_old(self, origin: str, now: float | None = None) -> None:
        """See HeadPlace."""
        self._asked(lambda: self._place.remove_old(origin, now))

    def _asked(self, question: Callable[[], T]) -> T:
        if self._failure is not None:
            since, error = self._failure
            if self._clock() - since < RETRY_S:
                raise error
        try:
            answer = question()
        except HeadPlaceSilent as error:
            self._failure = self._clock(), error
            raise
        except HeadExists:
            self._failure, self._answered = None, self._clock()
            raise
        self._failure, self._answered = None, self._clock()
        return answer

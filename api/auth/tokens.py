"""Authentication: bearer tokens (JWT), minted here or by an OpenID Connect issuer.

A token names a subject, one role, an organisation and the ledgers it is valid for; other claims are
ignored. Reading order: Principal, mint_token, then the two sources of a verification key: the
service's own key, or the keys that an issuer publishes (JWKS), and TokenChecker.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from api.auth.secrets import CheckingKey, SigningKey
from domain.actors import ROLES_OF_PEOPLE, Actor, Role
from domain.errors import LedgerError
from domain.values.logins import is_service
from domain.values.opaque_ids import OPAQUE_ID_PATTERN

EVERY_LEDGER = "*"
"""In `ledgers`: valid for all of them."""
LEEWAY_S = 30
"""How far the clocks of two machines may differ, seconds."""
TOKEN_BYTES_MAX = 8192
NAME_MAX = 200
"""Characters of a name."""
CACHED_MAX = 10_000
"""Verified tokens that are cached until they expire, so that each signature is verified once."""
JWKS_FRESH_S = 600
"""A key set is fetched again after so many seconds."""
JWKS_PAUSE_S = 10
"""Shortest time between two fetches: made-up key ids must not cause a fetch each."""
JWKS_TIMEOUT_S = 5

_ID = re.compile(OPAQUE_ID_PATTERN)
_LEDGER = re.compile(r"\*|[a-z][a-z0-9-]{1,30}")


class TokenMissing(LedgerError):
    """This needs a bearer token in the Authorization header."""

    code = "token_missing"


class TokenInvalid(LedgerError):
    """The bearer token was not accepted: {reason}."""

    code = "token_invalid"


class IssuerUnreachable(LedgerError):
    """The keys of the token issuer can't be fetched at the moment."""

    code = "issuer_unreachable"


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a verified token.

    subject: the login, which is stored nowhere but for staff, sealed. expires_at: seconds since
    1970. name: of the person, None if the token has none. actor: the same, for `Ledger.submit`,
    which records the login's pseudonym.
    """

    subject: str
    role: Role
    organisation: str
    ledgers: frozenset[str]
    expires_at: int
    backfill: bool = False
    on_behalf_of: str | None = None
    name: str | None = field(default=None, repr=False)
    actor: Actor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        actor = Actor(
            subject=self.subject,
            role=self.role,
            organisation=self.organisation,
            on_behalf_of=self.on_behalf_of,
        )
        object.__setattr__(self, "actor", actor)

    def may_enter(self, ledger: str) -> bool:
        """Whether the token is valid for a ledger."""
        return ledger in self.ledgers or EVERY_LEDGER in self.ledgers


def mint_token(
    key: SigningKey,
    *,
    subject: str,
    role: Role,
    organisation: str,
    ledgers: Iterable[str],
    issuer: str,
    audience: str,
    lifetime_s: int,
    backfill: bool = False,
    name: str | None = None,
    now_s: int | None = None,
) -> str:
    """A signed token for one person in one role.

    ledgers: names, or "*" for all. lifetime_s: seconds from now. backfill: the bearer may state
    when something happened (`Occurred-At`), to import a history. name: of the person.
    """
    now = int(time.time()) if now_s is None else now_s
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "role": Role(role).value,
        "org": organisation,
        "ledgers": sorted(set(ledgers)),
        "iat": now,
        "nbf": now,
        "exp": now + lifetime_s,
        "jti": uuid4().hex,
    }
    if backfill:
        claims["backfill"] = True
    if name is not None:
        claims["name"] = name
    algorithm = algorithm_of(key)
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id(key.public_key())})


def algorithm_of(key: SigningKey | CheckingKey) -> str:
    """The signature algorithm of a key."""
    edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey)
    return "EdDSA" if edwards else "ES256"


def key_id(key: CheckingKey) -> str:
    """The `kid` of a public key: the first 16 hexadecimal digits of its JWK's digest."""
    return hashlib.sha256(repr(sorted(public_jwk(key).items())).encode()).hexdigest()[:16]


def public_jwk(key: CheckingKey) -> dict[str, Any]:
    """A public key as a JWK, without `kid`."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return dict(OKPAlgorithm.to_jwk(key, as_dict=True))
    return dict(ECAlgorithm.to_jwk(key, as_dict=True))


class KeySource(Protocol):
    """Source of verification keys."""

    algorithms: tuple[str, ...]

    async def key_for(self, kid: str | None) -> Any: ...
    async def close(self) -> None: ...


class OwnKey:
    """The service's own key, which signs the tokens of `certledger token`."""

    def __init__(self, key: CheckingKey) -> None:
        self._key = key
        self._kid = key_id(key)
        self.algorithms = (algorithm_of(key),)

    async def key_for(self, kid: str | None) -> Any:
        """The key. Raises: TokenInvalid if the token names another key."""
        if kid not in (None, self._kid):
            raise TokenInvalid(reason="unknown_key")
        return self._key

    async def close(self) -> None:
        """Nothing to close."""


class PublishedKeys:
    """Keys that an issuer publishes as JWKS: fetched when needed, cached for JWKS_FRESH_S.

    An unknown key id fetches the set again, at most every JWKS_PAUSE_S seconds. While the issuer
    is unreachable, cached keys remain valid, so that its outage does not stop the service.
    """

    def __init__(
        self, url: str, algorithms: tuple[str, ...], client: httpx.AsyncClient | None = None
    ) -> None:
        self.algorithms = algorithms
        self._url = url
        self._client = client or httpx.AsyncClient(timeout=JWKS_TIMEOUT_S, follow_redirects=False)
        self._keys: dict[str, Any] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def key_for(self, kid: str | None) -> Any:
        """The key of that id. Raises: TokenInvalid, IssuerUnreachable."""
        if kid is None:
            raise TokenInvalid(reason="key_id_missing")
        now = time.monotonic()
        if kid not in self._keys or now - self._fetched_at > JWKS_FRESH_S:
            async with self._fetching:
                await self._refresh(kid)
        if kid in self._keys:
            return self._keys[kid]
        if self._fetched_at == float("-inf"):
            raise IssuerUnreachable()
        raise TokenInvalid(reason="unknown_key")

    async def _refresh(self, kid: str) -> None:
        now = time.monotonic()
        fresh = now - self._fetched_at <= JWKS_FRESH_S
        if (kid in self._keys and fresh) or now - self._tried_at < JWKS_PAUSE_S:
            return
        self._tried_at = now
        try:
            answer = await self._client.get(self._url)
            answer.raise_for_status()
            self._keys = _usable(answer.json())
        except (httpx.HTTPError, ValueError, TypeError, AttributeError, jwt.PyJWTError):
            return
        self._fetched_at = now

    async def close(self) -> None:
        """Close the connection to the issuer."""
        await self._client.aclose()


def _usable(published: dict[str, Any]) -> dict[str, Any]:
    """Signing keys of a JWKS by id; unusable ones are left out."""
    found = {}
    for given in published["keys"]:
        if given.get("use", "sig") != "sig" or "kid" not in given or given.get("kty") == "oct":
            continue
        try:
            found[given["kid"]] = jwt.PyJWK(given)
        except jwt.PyJWTError:
            continue
    return found


class TokenChecker:
    """Verifies tokens, and caches the principals of verified ones."""

    def __init__(
        self, keys: KeySource, *, issuer: str, audience: str, role_claim: str = "role"
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._role_claim = role_claim
        self._checked: OrderedDict[bytes, Principal] = OrderedDict()

    async def check(self, token: str) -> Principal:
        """The bearer of a token. Raises: TokenInvalid, IssuerUnreachable."""
        if len(token) > TOKEN_BYTES_MAX:
            raise TokenInvalid(reason="too_long")
        digest = _digest(token)
        known = self._known(digest)
        if known is not None:
            return known
        principal = self._principal(await self._claims(token))
        self._checked[digest] = principal
        while len(self._checked) > CACHED_MAX:
            self._checked.popitem(last=False)
        return principal

    def checked(self, token: str) -> Principal | None:
        """The bearer of a token that is verified, cached and not expired; None otherwise."""
        return self._known(_digest(token))

    def _known(self, digest: bytes) -> Principal | None:
        known = self._checked.get(digest)
        return known if known is not None and time.time() < known.expires_at else None

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise TokenInvalid(reason="malformed") from None
        if header.get("alg") not in self._keys.algorithms:
            raise TokenInvalid(reason="algorithm")
        key = await self._keys.key_for(header.get("kid"))
        try:
            return jwt.decode(
                token,
                key,
                algorithms=list(self._keys.algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except jwt.PyJWTError as refused:
            raise TokenInvalid(reason=_REASONS.get(type(refused), "malformed")) from None

    def _principal(self, claims: dict[str, Any]) -> Principal:
        """The principal of a token's claims. Raises: TokenInvalid for a malformed claim."""
        subject, organisation = claims["sub"], claims.get("org", "")
        if not (isinstance(subject, str) and 0 < len(subject) <= 200) or is_service(subject):
            raise TokenInvalid(reason="subject")
        if not (isinstance(organisation, str) and len(organisation) <= 200):
            raise TokenInvalid(reason="organisation")
        try:
            role = Role(claims[self._role_claim])
        except (KeyError, ValueError, TypeError):
            raise TokenInvalid(reason="role") from None
        if role not in ROLES_OF_PEOPLE:
            raise TokenInvalid(reason="role")
        name = claims.get("name") or None  # issuers write an empty one for somebody without
        if name is not None and not (isinstance(name, str) and len(name) <= NAME_MAX):
            raise TokenInvalid(reason="name")
        behalf = claims.get("on_behalf_of")
        if behalf is not None and not (isinstance(behalf, str) and _ID.fullmatch(behalf)):
            raise TokenInvalid(reason="on_behalf_of")
        return Principal(
            subject=subject,
            role=role,
            organisation=organisation,
            ledgers=_ledgers(claims.get("ledgers")),
            expires_at=int(claims["exp"]) + LEEWAY_S,
            backfill=claims.get("backfill") is True,
            on_behalf_of=behalf,
            name=name,
        )

    async def close(self) -> None:
        """Close the key source."""
        await self._keys.close()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _ledgers(claim: Any) -> frozenset[str]:
    """Ledgers of a token: a list, or one text separated by spaces like OpenID scopes."""
    names = claim.split() if isinstance(claim, str) else claim
    if not isinstance(names, list) or not names:
        raise TokenInvalid(reason="ledgers")
    if not all(isinstance(name, str) and _LEDGER.fullmatch(name) for name in names):
        raise TokenInvalid(reason="ledgers")
    return frozenset(names)


_REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not_yet_valid",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidIssuerError: "issuer",
    jwt.InvalidSignatureError: "signature",
    jwt.MissingRequiredClaimError: "claim_missing",
    jwt.InvalidIssuedAtError: "not_yet_valid",
}
"""Reason by exception: the library's own messages may contain parts of the token."""

"""Bearer tokens: minting, verification, and every kind of refusal."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.auth import tokens
from api.auth.tokens import (
    IssuerUnreachable,
    OwnKey,
    Principal,
    PublishedKeys,
    TokenChecker,
    TokenInvalid,
    key_id,
    mint_token,
    public_jwk,
)
from domain.actors import Role

KEY = ed25519.Ed25519PrivateKey.generate()
CLAIMS: dict[str, Any] = {
    "subject": "finance-1",
    "role": Role.FINANCE,
    "organisation": "omc",
    "ledgers": ["omc"],
    "issuer": "certledger",
    "audience": "certledger",
    "lifetime_s": 60,
}


def checker(source: Any = None, **given: Any) -> TokenChecker:
    return TokenChecker(
        source or OwnKey(KEY.public_key()), issuer="certledger", audience="certledger", **given
    )


def check(token: str, by: TokenChecker | None = None) -> Principal:
    return asyncio.run((by or checker()).check(token))


def forged(changes: dict[str, Any], key: Any = KEY, **header: Any) -> str:
    """A token signed by the right key that says something else."""
    claims = jwt.decode(mint_token(KEY, **CLAIMS), options={"verify_signature": False})
    for name, value in changes.items():
        claims.pop(name, None)
        if value is not None:
            claims[name] = value
    given = {"algorithm": "EdDSA", "headers": {"kid": key_id(KEY.public_key())}} | header
    return jwt.encode(claims, key, **given)


def test_a_token_names_bearer_role_and_ledgers():
    found = check(mint_token(KEY, **CLAIMS))
    assert (found.subject, found.role, found.organisation) == ("finance-1", Role.FINANCE, "omc")
    assert found.may_enter("omc")
    assert not found.may_enter("other")
    assert not found.backfill
    assert found.actor.role is Role.FINANCE


def test_a_token_may_say_the_name_of_its_bearer():
    assert check(mint_token(KEY, **CLAIMS, name="王五")).name == "王五"
    assert check(mint_token(KEY, **CLAIMS)).name is None
    assert check(forged({"name": ""})).name is None


def test_a_star_is_valid_for_every_ledger():
    assert check(mint_token(KEY, **(CLAIMS | {"ledgers": ["*"]}))).may_enter("anything")


def test_backfill_must_be_exactly_true():
    assert check(mint_token(KEY, **CLAIMS, backfill=True)).backfill
    assert not check(forged({"backfill": "true"})).backfill


def test_an_es256_key_signs_as_well():
    key = ec.generate_private_key(ec.SECP256R1())
    assert check(mint_token(key, **CLAIMS), checker(OwnKey(key.public_key()))).subject


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"nbf": int(time.time()) + 600}, "not_yet_valid"),
        ({"aud": "somebody else"}, "audience"),
        ({"iss": "somebody else"}, "issuer"),
        ({"exp": None}, "claim_missing"),
        ({"sub": None}, "claim_missing"),
        ({"sub": ""}, "subject"),
        ({"role": "king"}, "role"),
        ({"role": ["finance"]}, "role"),
        ({"role": None}, "role"),
        ({"role": "service"}, "role"),
        ({"sub": "certledger/erasure"}, "subject"),
        ({"ledgers": None}, "ledgers"),
        ({"ledgers": []}, "ledgers"),
        ({"ledgers": ["UPPER"]}, "ledgers"),
        ({"org": 7}, "organisation"),
        ({"on_behalf_of": 7}, "on_behalf_of"),
        ({"name": 7}, "name"),
        ({"name": "王" * 201}, "name"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused_by_reason(changes: dict[str, Any], reason: str):
    with pytest.raises(TokenInvalid) as refused:
        check(forged(changes))
    assert refused.value.reason == reason


def test_ledgers_may_be_one_text_like_scopes():
    assert check(forged({"ledgers": "omc second"})).ledgers == {"omc", "second"}


def test_a_token_signed_by_another_key_is_refused():
    other = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(TokenInvalid) as refused:
        check(forged({}, key=other))
    assert refused.value.reason == "signature"


def test_an_unsigned_token_is_refused():
    token = jwt.encode({"sub": "x"}, None, algorithm="none")
    with pytest.raises(TokenInvalid) as refused:
        check(token)
    assert refused.value.reason == "algorithm"


def test_the_public_key_is_not_accepted_as_a_shared_secret():
    raw = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    with pytest.raises(TokenInvalid) as refused:
        check(forged({}, key=raw, algorithm="HS256"))
    assert refused.value.reason == "algorithm"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é", "x" * 9000])
def test_a_malformed_token_is_refused(token: str):
    with pytest.raises(TokenInvalid):
        check(token)


def test_a_cached_token_still_expires(monkeypatch: pytest.MonkeyPatch):
    by = checker()
    token = mint_token(KEY, **CLAIMS)
    check(token, by)
    later = time.time() + 3600
    monkeypatch.setattr(tokens.time, "time", lambda: later)
    with pytest.raises(TokenInvalid):
        asyncio.run(by.check(token + "x"))
    assert by._checked  # cached, but only until it expires
    assert next(iter(by._checked.values())).expires_at < later


# --- an OpenID issuer -----------------------------------------------------------------------------


class Issuer:
    """An OpenID issuer's key set, with a count of how often it was asked."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.asked = 0
        self.down = False

    def add(self, kid: str, key: Any, **more: Any) -> None:
        self.keys[kid] = public_jwk(key.public_key()) | {"kid": kid, "use": "sig"} | more

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.down:
            return httpx.Response(503)
        return httpx.Response(200, json={"keys": list(self.keys.values())})

    def checker(self, **given: Any) -> TokenChecker:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        source = PublishedKeys("https://issuer.example/jwks", ("EdDSA", "RS256"), client)
        return checker(source, **given)


def signed(key: Any, kid: str | None, **changes: Any) -> str:
    headers = {"kid": kid} if kid else {}
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "EdDSA"
    return forged(changes, key=key, algorithm=algorithm, headers=headers)


def test_tokens_of_an_issuer_are_checked_with_its_published_keys():
    issuer = Issuer()
    issuer.add("one", KEY)
    by = issuer.checker(role_claim="job")

    async def both() -> tuple[Principal, Principal]:
        return (
            await by.check(signed(KEY, "one", job="regulator")),
            await by.check(signed(KEY, "one", job="finance")),
        )

    first, second = asyncio.run(both())
    assert (first.role, second.role) == (Role.REGULATOR, Role.FINANCE)
    assert issuer.asked == 1


def test_an_unknown_key_id_fetches_the_set_again_at_a_limited_rate(
    monkeypatch: pytest.MonkeyPatch,
):
    issuer = Issuer()
    issuer.add("one", KEY)
    by = issuer.checker()
    new = ed25519.Ed25519PrivateKey.generate()

    async def guess() -> None:
        await by.check(signed(KEY, "one"))
        for kid in ("guess", "guess2", "guess3"):
            with pytest.raises(TokenInvalid, match="unknown_key"):
                await by.check(signed(KEY, kid))
        issuer.add("two", new)
        monkeypatch.setattr(tokens, "JWKS_PAUSE_S", 0)
        await by.check(signed(new, "two"))

    asyncio.run(guess())
    assert issuer.asked == 2


def test_cached_keys_remain_valid_while_the_issuer_is_down():
    issuer = Issuer()
    issuer.add("one", KEY)
    by = issuer.checker()

    async def known_then_down() -> Principal:
        await by.check(signed(KEY, "one"))
        issuer.down = True
        by._keys._fetched_at -= 10_000
        return await by.check(signed(KEY, "one", sub="another"))

    assert asyncio.run(known_then_down()).subject == "another"


def test_an_issuer_that_never_answered_is_503_not_401():
    issuer = Issuer()
    issuer.down = True
    with pytest.raises(IssuerUnreachable):
        check(signed(KEY, "one"), issuer.checker())


def test_a_key_published_for_another_use_is_ignored():
    issuer = Issuer()
    issuer.add("enc", KEY, use="enc")
    with pytest.raises(TokenInvalid, match="unknown_key"):
        check(signed(KEY, "enc"), issuer.checker())


def test_a_token_without_a_key_id_is_refused_by_an_issuers_checker():
    issuer = Issuer()
    issuer.add("one", KEY)
    with pytest.raises(TokenInvalid, match="key_id_missing"):
        check(signed(KEY, None), issuer.checker())

"""A repeated command: the same principal and Idempotency-Key, and the same request or another.

The same request gets the recorded receipt again; another request under the key is refused.
"""

from domain.store.errors import IdempotencyKeyReused
from domain.store.journal.records import KnownCommand


def ensure_same_request(known: KnownCommand, request_hash: bytes) -> None:
    """Refuse a key that was used with another request.

    known: what is recorded under the key. request_hash: of the request that came now.
    Raises: IdempotencyKeyReused.
    """
    if known.request_hash != request_hash:
        raise IdempotencyKeyReused()

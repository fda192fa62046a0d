"""Seals, which a database cannot make by itself, keyed hashes, and signatures of keys.

Imports errors and values. Begin with seals.py, which makes and checks the MACs of events, heads,
commands, snapshots and certificate rows; command_hashes.py hashes requests and idempotency keys;
key_signatures.py signs with a key and checks that.
"""

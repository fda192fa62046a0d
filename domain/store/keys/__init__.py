"""Seals, which a database cannot make by itself, and signatures of keys.

Imports errors and values. Begin with seals.py, which makes and checks the MACs of events, heads,
commands, snapshots and certificate rows; key_signatures.py signs with a key and checks that.
"""

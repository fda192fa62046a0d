"""Key ids, and the seals that a database cannot make by itself.

key_ids.py names a key without showing it; seals.py makes and checks the MACs of events, heads,
commands, snapshots and certificate rows.
"""

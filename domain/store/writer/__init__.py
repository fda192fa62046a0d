"""Group commit: one writer thread per ledger commits all waiting commands in one transaction.

Imports `domain.store.journal` and `domain.store.postgres`. Begin with commands.py, the vocabulary
and the ports to the use case, then group_commit.py; retry.py is the fallback when a batch conflicts
or its COMMIT has an unknown outcome.
"""

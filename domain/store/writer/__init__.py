"""Group commit: one writer thread a ledger puts all waiting commands into one transaction.

Imports `domain.store.journal` and `domain.store.postgres`. Begin with group_commit.py; retry.py is
the fallback when a batch conflicts or its COMMIT has an unknown outcome.
"""

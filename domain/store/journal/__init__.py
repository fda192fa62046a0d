"""One ledger's journal on PostgreSQL: envelopes, positions, transactions.

Imports `domain.store.postgres`. Begin with records.py (what goes in and out), then journal.py;
transaction.py, batch.py, read_cache.py and statements.py are its inside.
"""

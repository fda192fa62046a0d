"""One ledger's journal on PostgreSQL: envelopes, positions, transactions.

Imports `domain.store.postgres`. Begin with records.py (what goes in and comes out), then
journal.py. Inside: transaction.py (two ways to append a batch), batch.py (what it writes),
read_cache.py (what it reads), statements.py (the SQL), envelope.py (the bytes), idempotency.py (a
repeated command), snapshot_table.py, data_keys.py (keys inserted and destroyed), last_seen.py
(notices lost events), resealing.py (the end sealed again after an accepted loss).
"""

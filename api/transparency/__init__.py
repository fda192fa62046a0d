"""The keys and checkpoints of the transparency logs, while the service runs.

Imports `api.settings` and, as a composition root, `domain.store.tlog` and the ledgers. Reading
order: `checkpoint_signing.py` (the job that compares and signs every log), `head_places.py` (where
heads are kept), `erasure_register.py` (erasures, in the same places), `recovery.py` (an accepted
loss), `log_keys.py` (one key a ledger), `service_keys.py` (what a ledger names of the service's
keys).
"""

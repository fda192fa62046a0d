"""Use cases: load states, decide, append. The only part of `domain` that knows the store.

Begin with ledger.py (`Ledger.submit`), then command_execution.py (one command from its read set to
its receipt).
"""

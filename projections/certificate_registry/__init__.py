"""证书登记 certificate registry: what the nationwide lookup answers from.

A view: imports the engine, events and values, never a decision and never another view. view.py
folds, public_record.py renders the answer that a row stores, queries.py reads.
"""

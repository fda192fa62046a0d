"""Folds the journal into the tables of views: contract, row buffer, generations, runner.

Imports `domain.events` and `domain.store`; it knows no view, no list of views and no rebuild.
Begin with view.py (the contract of a view), then ledger_projector.py and runner.py.
"""

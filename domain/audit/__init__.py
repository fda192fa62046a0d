"""Audits everything that a ledger stores in addition to its events, against the events.

Imports the use cases, lawfulness and the store, and reads only. Each check is a class that takes
page after page of events, so that `certledger verify` runs them at once and the background audit in
small pieces. Begin with full.py; results.py and events.py are what the checks share; then one file
for each check.
"""

"""The journal behind the interfaces of the `eventsourcing` library.

conversion.py converts events and errors both ways, application.py is an application of the library
on a ledger, tailer.py is the catch-up subscription. `domain.store.recorder` is the persistence
module built on conversion.py and tailer.py.
"""

"""The journal behind the interfaces of the `eventsourcing` library.

Imports journal, mapper and postgres. conversion.py translates events both ways, tailer.py is the
catch-up subscription; `domain.store.recorder` is the persistence module built on both.
"""

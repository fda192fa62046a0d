"""A PostgreSQL server of our own, started from a wheel, for installations that have none.

Imports nothing of ours. Begin with server.py.
"""

"""Child processes: a supervisor that restarts one, and a pool that shares work among several.

Imports nothing of ours. Begin with child.py.
"""

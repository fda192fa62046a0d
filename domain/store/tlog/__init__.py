"""The journal as a transparency log: Merkle tree, signed checkpoints, the audit.

Imports journal, postgres and processes. Begin with audit.py; fast_audit.py is its fast pass;
merkle.py, signed_note.py and checkpoints.py are the log's formats; heads.py keeps signed heads, and
erasure_entries.py is what is kept of erasures in the same places.
"""

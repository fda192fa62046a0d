"""Value types: fen, marks, levels, document and certificate numbers, names, working days.

Imports nothing but `domain.errors`. Begin with primitives.py; every other module holds one
kind of value and imports at most its neighbours.
"""

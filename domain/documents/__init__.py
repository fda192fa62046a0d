"""What a candidate hands in: which materials an application needs, and why a file is refused.

Imports `domain.values` and `domain.errors`. Begin with materials.py.
"""

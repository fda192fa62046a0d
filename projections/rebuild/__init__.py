"""Blue-green rebuild: fills new tables next to the live ones, compares, swaps.

Imports the engine and the catalogue. Begin with rebuild.py.
"""

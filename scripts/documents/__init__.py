"""Shared code of the scripts that write `docs/`."""

"""Copies of an honest database, for the commands that check one."""

from tests.support.honest_fixtures import copy, honest

__all__ = ["copy", "honest"]

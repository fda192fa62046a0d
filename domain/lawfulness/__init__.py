"""Whether recorded facts could have been decided, judged by the decisions themselves.

The events of one command are turned back into the command that could have led to them, and that
command is decided again on the states as they were. No rule is written twice: what the decision
refuses, or decides otherwise, is unlawful. Pure: envelopes come in parsed, keys as functions.
Begin with judge.py. Order: history.py (states and claims), inverses.py (facts to command),
verdict.py (`lawful`), judge.py (`Judge`, event by event).
"""

"""Work that nobody waits for: the service submits the commands that are due by time alone.

What is due is a view (`projections.worklist`), and what is done is a fact, so that a process that
dies at any moment loses and repeats nothing. Imports projections, the use cases and the commands
they take. Reading order: `works.py` (the works, as data), `background_worker.py` (does them, in
`certledger serve` and `certledger work`), `outcomes.py` (what it did, and what it tries again);
`database_job.py` and its three jobs, which record no fact.
"""

"""The one door to PostgreSQL for facts.

Reading order:

records.py      what goes in and comes out: Draft, Recorded, Append
envelope.py     the bytes of an event and their hash
journal.py      one ledger's journal: transaction, read, stream; transaction.py, lookups.py,
                batch.py and statements.py are its inside, connection.py how it reaches the server
committer.py    one writer thread a ledger, many commands a commit, the next one decided meanwhile;
                settling.py for what fails, jobs.py the vocabulary of both
mapper.py       facts to envelopes and back; vault.py and suites.py keep personal data
tailer.py       following a journal: listen, read, wait, reconnect
recorder.py     the same journal behind the interface of the `eventsourcing` library
merkle.py       the tree over the leaves; note.py signed notes; checkpoints.py signed tree heads
verify.py       the audit: re-hashes everything, names the first bad position; rereading.py is its
                quick eye, helper.py and child.py let other processes read with it
blobs.py        attachments by their SHA-256
migrate.py      the schema, step by step, in migrations/
embedded.py     a PostgreSQL of our own, for those who have none
"""

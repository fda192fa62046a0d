-- Every second the service compares the commands of the last events (domain/service/tail_check.py),
-- which it finds by position. New rows go to the end of each ledger's part of the index.
CREATE INDEX commands_position ON certledger.commands (ledger, last_position)
    WHERE last_position IS NOT NULL;

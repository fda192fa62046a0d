-- Every index that is not written at its end costs an append a page anywhere on the disk, and its
-- whole image in the WAL. Three of six such indexes say what others say already.

-- An event's id is made from its command's id and its number within the command, a command's id
-- from ledger, principal and key; and nothing is looked up by either.
ALTER TABLE certledger.journal DROP CONSTRAINT journal_event_id;
ALTER TABLE certledger.commands DROP CONSTRAINT commands_command_id;

-- One index for live claims and released ones: at most one row of a claim is not released. Rows
-- themselves are told apart by the position that took them, which only grows.
ALTER TABLE certledger.claims DROP CONSTRAINT claims_pkey;
ALTER TABLE certledger.claims
    ADD CONSTRAINT claims_pkey PRIMARY KEY (ledger, position, kind, key),
    ADD CONSTRAINT claims_key UNIQUE NULLS NOT DISTINCT (ledger, kind, key, released_position);
DROP INDEX certledger.claims_live;

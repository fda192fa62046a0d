-- The progress of a view has a seal under a key that is not in the database, over the position and
-- the leaf hash of the event there: who moved it ahead would make the view skip events. Null where
-- another program tracks its own progress.
ALTER TABLE certledger.tracking
    ADD COLUMN leaf_hash bytea CHECK (octet_length(leaf_hash) = 32),
    ADD COLUMN seal      bytea CHECK (octet_length(seal) = 32);

-- Seals: MACs under a key that is not in the database. The program writes and checks them; the
-- database only keeps them. An event without a seal cannot be given one afterwards, because nobody
-- could say what was sealed.
DO $$
BEGIN
    IF EXISTS (SELECT FROM certledger.journal) THEN
        RAISE EXCEPTION 'the journal holds events without seals, of an unreleased version'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Begin with an empty database; such events cannot be sealed afterwards.';
    END IF;
END $$;

ALTER TABLE certledger.journal
    ADD COLUMN seal     bytea            NOT NULL CHECK (octet_length(seal) = 32),
    ADD COLUMN seal_key text COLLATE "C" NOT NULL CHECK (length(seal_key) = 8);

-- The head row: leaf hash of the last event and a seal over both; null while there is no event.
ALTER TABLE certledger.ledgers
    ADD COLUMN leaf_hash bytea CHECK (octet_length(leaf_hash) = 32),
    ADD COLUMN seal      bytea CHECK (octet_length(seal) = 32),
    ADD COLUMN seal_key  text COLLATE "C" CHECK (length(seal_key) = 8),
    ADD CONSTRAINT ledgers_sealed CHECK ((position = 0) = (leaf_hash IS NULL)
        AND (leaf_hash IS NULL) = (seal IS NULL) AND (seal IS NULL) = (seal_key IS NULL));

ALTER TABLE certledger.commands
    ADD COLUMN seal     bytea            NOT NULL CHECK (octet_length(seal) = 32),
    ADD COLUMN seal_key text COLLATE "C" NOT NULL CHECK (length(seal_key) = 8);

-- Snapshots can be taken again, so those without a seal go. position, leaf_hash: of the last event
-- that is folded into the state; position 0 and zeros for a foreign state without an event.
DELETE FROM certledger.snapshots;
ALTER TABLE certledger.snapshots
    ADD COLUMN position  bigint           NOT NULL CHECK (position >= 0),
    ADD COLUMN leaf_hash bytea            NOT NULL CHECK (octet_length(leaf_hash) = 32),
    ADD COLUMN seal      bytea            NOT NULL CHECK (octet_length(seal) = 32),
    ADD COLUMN seal_key  text COLLATE "C" NOT NULL CHECK (length(seal_key) = 8);

GRANT UPDATE (leaf_hash, seal, seal_key) ON certledger.ledgers TO certledger_app;

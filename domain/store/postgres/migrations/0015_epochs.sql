-- Data keys are wrapped by bucket keys, bucket keys by the key of an epoch, which is a file outside
-- the database: once that file is destroyed, no copy of these tables from before opens anything.
-- What 0008 wrapped under the master key itself has another form, so a database that has such rows
-- is not changed.
DO $$ BEGIN
    IF EXISTS (SELECT FROM certledger.data_keys) THEN
        RAISE EXCEPTION 'this database was written by a version whose data keys are wrapped in '
            'another form; it cannot be migrated'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Begin with an empty database or a new data directory.';
    END IF;
END $$;

CREATE TABLE certledger.epochs (
    epoch        integer     PRIMARY KEY CHECK (epoch > 0),
    key_id       text        NOT NULL,
    ends_at      timestamptz NOT NULL, -- for people; what counts is in the key's file
    made_at      timestamptz NOT NULL,
    destroyed_at timestamptz
);

-- No reference to certledger.ledgers: it would wait for the head lock of the writer that needs one.
CREATE TABLE certledger.bucket_keys (
    ledger     text        COLLATE "C" NOT NULL,
    bucket     integer     NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    generation integer     NOT NULL CHECK (generation > 0),
    epoch      integer     NOT NULL REFERENCES certledger.epochs,
    algorithm  text        NOT NULL,
    wrapped    bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    stale      boolean     NOT NULL DEFAULT false, -- a key under it was destroyed
    CONSTRAINT bucket_keys_pkey PRIMARY KEY (ledger, bucket, generation)
);
CREATE INDEX bucket_keys_epoch ON certledger.bucket_keys (epoch);

-- bucket_generation goes with the wrapped key, so that a bucket key that wraps anything cannot be
-- deleted, and nothing can be wrapped under one that is gone.
ALTER TABLE certledger.data_keys
    DROP COLUMN master_key_id,
    ADD COLUMN bucket integer NOT NULL,
    ADD COLUMN bucket_generation integer,
    ADD CONSTRAINT data_keys_bucket FOREIGN KEY (ledger, bucket, bucket_generation)
        REFERENCES certledger.bucket_keys;
CREATE INDEX data_keys_of_bucket ON certledger.data_keys (ledger, bucket, bucket_generation)
    WHERE wrapped IS NOT NULL;

CREATE OR REPLACE FUNCTION certledger.key_destroyed_for_good() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.ledger, NEW.owner, NEW.class, NEW.generation, NEW.algorithm, NEW.bucket, NEW.created_at)
       IS DISTINCT FROM
       (OLD.ledger, OLD.owner, OLD.class, OLD.generation, OLD.algorithm, OLD.bucket, OLD.created_at)
       OR OLD.destroyed_at IS NOT NULL THEN
        RAISE EXCEPTION 'a data key of % was destroyed for good, or would become another',
            OLD.owner USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.wrapped IS NULL THEN
        NEW.bucket_generation := NULL;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION certledger.epoch_destroyed_for_good() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.destroyed_at IS NOT NULL THEN
        RAISE EXCEPTION 'the key of epoch % was destroyed for good', OLD.epoch
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER no_delete BEFORE DELETE ON certledger.epochs
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON certledger.epochs
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON certledger.bucket_keys
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change();
CREATE TRIGGER epoch_destroyed_for_good BEFORE UPDATE ON certledger.epochs
    FOR EACH ROW EXECUTE FUNCTION certledger.epoch_destroyed_for_good();
ALTER TABLE certledger.epochs ENABLE ALWAYS TRIGGER no_delete;
ALTER TABLE certledger.epochs ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE certledger.bucket_keys ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE certledger.epochs ENABLE ALWAYS TRIGGER epoch_destroyed_for_good;

GRANT UPDATE (wrapped, bucket_generation, destroyed_at) ON certledger.data_keys TO certledger_app;
GRANT SELECT, INSERT ON certledger.epochs TO certledger_app;
GRANT UPDATE (destroyed_at) ON certledger.epochs TO certledger_app;
GRANT SELECT, INSERT, DELETE ON certledger.bucket_keys TO certledger_app;
GRANT UPDATE (epoch, algorithm, wrapped, stale) ON certledger.bucket_keys TO certledger_app;

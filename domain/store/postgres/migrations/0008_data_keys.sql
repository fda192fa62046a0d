-- Data keys by owner, class and generation take the place of one key a person: what is old can go
-- while what is new can still be written. What person_keys sealed has another form and could not be
-- opened any more, so a database that has such rows is not changed.
DO $$ BEGIN
    IF EXISTS (SELECT FROM certledger.person_keys) THEN
        RAISE EXCEPTION 'this database was written by a version whose sealed values have another '
            'form; it cannot be migrated'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Begin with an empty database or a new data directory.';
    END IF;
END $$;
DROP TABLE certledger.person_keys;
DROP FUNCTION certledger.destroyed_for_good();

-- Wrapped by a master key that is not in the database. Erasure sets wrapped to null; the row stays,
-- so that its generation is never used again.
CREATE TABLE certledger.data_keys (
    ledger        text        COLLATE "C" NOT NULL,
    owner         text        COLLATE "C" NOT NULL, -- person/<person_id> or matter/<stream>
    class         text        COLLATE "C" NOT NULL, -- empty for a matter
    generation    integer     NOT NULL CHECK (generation > 0),
    algorithm     text        NOT NULL,
    master_key_id text        NOT NULL,
    wrapped       bytea,
    created_at    timestamptz NOT NULL,
    destroyed_at  timestamptz,
    CONSTRAINT data_keys_pkey PRIMARY KEY (ledger, owner, class, generation),
    CONSTRAINT data_keys_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL)),
    CONSTRAINT data_keys_class CHECK (
        CASE WHEN owner LIKE 'person/%' THEN class IN
            ('identity', 'contact', 'statements', 'remarks', 'money', 'certificate')
        ELSE owner LIKE 'matter/%' AND class = '' END)
);

CREATE FUNCTION certledger.key_destroyed_for_good() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.ledger, NEW.owner, NEW.class, NEW.generation, NEW.algorithm, NEW.created_at)
       IS DISTINCT FROM
       (OLD.ledger, OLD.owner, OLD.class, OLD.generation, OLD.algorithm, OLD.created_at)
       OR OLD.destroyed_at IS NOT NULL THEN
        RAISE EXCEPTION 'a data key of % was destroyed for good, or would become another',
            OLD.owner USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER no_delete BEFORE DELETE ON certledger.data_keys
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON certledger.data_keys
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change();
CREATE TRIGGER key_destroyed_for_good BEFORE UPDATE ON certledger.data_keys
    FOR EACH ROW EXECUTE FUNCTION certledger.key_destroyed_for_good();
ALTER TABLE certledger.data_keys ENABLE ALWAYS TRIGGER no_delete;
ALTER TABLE certledger.data_keys ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE certledger.data_keys ENABLE ALWAYS TRIGGER key_destroyed_for_good;

GRANT SELECT, INSERT ON certledger.data_keys TO certledger_app;
GRANT UPDATE (master_key_id, wrapped, destroyed_at) ON certledger.data_keys TO certledger_app;

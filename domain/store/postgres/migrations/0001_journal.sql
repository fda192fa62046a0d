-- The journal: what happened, in order, for ever. Every primary key begins with the ledger, so
-- that a ledger can be a shard. Nothing here updates or deletes a recorded event, and nothing may.

CREATE SCHEMA IF NOT EXISTS views;

-- The head row. Locking it is the right to append: whoever holds it sees the newest state and
-- cannot conflict with anybody.
CREATE TABLE certledger.ledgers (
    ledger       text        COLLATE "C" PRIMARY KEY,
    position     bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    recorded_at  timestamptz NOT NULL DEFAULT 'epoch',
    site_code    text        COLLATE "C" UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50); -- one hot row: leave its page room for HOT updates

CREATE TABLE certledger.journal (
    ledger       text        COLLATE "C" NOT NULL,
    -- Dense: 1, 2, 3 … The Merkle leaf of an event is its position - 1.
    position     bigint      NOT NULL CHECK (position > 0),
    stream       text        COLLATE "C" NOT NULL,
    version      bigint      NOT NULL CHECK (version >= 0),
    event_id     uuid        NOT NULL,
    topic        text        COLLATE "C" NOT NULL,
    envelope     bytea       NOT NULL CHECK (octet_length(envelope) <= 65535),
    leaf_hash    bytea       NOT NULL CHECK (octet_length(leaf_hash) = 32),
    occurred_at  timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL,
    CONSTRAINT journal_pkey PRIMARY KEY (ledger, position),
    CONSTRAINT journal_stream_version UNIQUE (ledger, stream, version),
    CONSTRAINT journal_event_id UNIQUE (ledger, event_id)
);

-- A view that handles three topics of sixty must not read all sixty when it is rebuilt.
CREATE INDEX journal_topic ON certledger.journal (ledger, topic, position);

-- Idempotency: what was asked, by its hash, and what was answered. Never pruned.
CREATE TABLE certledger.commands (
    ledger         text   COLLATE "C" NOT NULL,
    principal      text   COLLATE "C" NOT NULL,
    key            text   COLLATE "C" NOT NULL,
    request_hash   bytea  NOT NULL,
    command_id     uuid   NOT NULL,
    first_position bigint,  -- null: the command recorded nothing
    last_position  bigint,
    receipt        bytea  NOT NULL,
    CONSTRAINT commands_pkey PRIMARY KEY (ledger, principal, key),
    CONSTRAINT commands_command_id UNIQUE (ledger, command_id)
);

-- What only one may hold: a certificate number, a provider's transaction, a live application.
CREATE TABLE certledger.claims (
    ledger            text   COLLATE "C" NOT NULL,
    kind              text   COLLATE "C" NOT NULL,
    key               text   COLLATE "C" NOT NULL,
    position          bigint NOT NULL,
    released_position bigint CHECK (released_position >= position),
    CONSTRAINT claims_pkey PRIMARY KEY (ledger, kind, key, position)
);
CREATE UNIQUE INDEX claims_live ON certledger.claims (ledger, kind, key)
    WHERE released_position IS NULL;

-- One data key a person, wrapped by a master key that is not in the database. Erasure sets
-- wrapped to null; the row stays, so that the person never gets a second key by mistake.
CREATE TABLE certledger.person_keys (
    ledger        text        COLLATE "C" NOT NULL,
    person        text        COLLATE "C" NOT NULL,
    algorithm     text        NOT NULL,
    master_key_id text        NOT NULL,
    wrapped       bytea,
    created_at    timestamptz NOT NULL,
    destroyed_at  timestamptz,
    CONSTRAINT person_keys_pkey PRIMARY KEY (ledger, person),
    CONSTRAINT person_keys_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

CREATE TABLE certledger.snapshots (
    ledger  text   COLLATE "C" NOT NULL,
    stream  text   COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    topic   text   COLLATE "C" NOT NULL,
    state   bytea  NOT NULL,
    CONSTRAINT snapshots_pkey PRIMARY KEY (ledger, stream, version)
);

CREATE TABLE certledger.tracking (
    ledger   text   COLLATE "C" NOT NULL,
    view     text   COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT tracking_pkey PRIMARY KEY (ledger, view)
) WITH (fillfactor = 50);

-- Signed tree heads, as published.
CREATE TABLE certledger.checkpoints (
    ledger text   COLLATE "C" NOT NULL,
    size   bigint NOT NULL CHECK (size >= 0),
    root   bytea  NOT NULL CHECK (octet_length(root) = 32),
    note   text   NOT NULL,
    CONSTRAINT checkpoints_pkey PRIMARY KEY (ledger, size)
);

-- --- the past is safe -------------------------------------------------------------------------
-- Privileges stop the program; these triggers stop the owner's slip of the hand. ALWAYS: they
-- fire in replica mode too. A superuser can still disable them: `verify` finds that.

CREATE FUNCTION certledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'certledger.% is append-only: % is not allowed', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'Record a new event that puts the old one right.';
END $$;

CREATE FUNCTION certledger.only_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.ledger <> OLD.ledger OR NEW.position < OLD.position
       OR NEW.recorded_at < OLD.recorded_at OR NEW.created_at <> OLD.created_at
       OR (OLD.site_code IS NOT NULL AND NEW.site_code IS DISTINCT FROM OLD.site_code) THEN
        RAISE EXCEPTION 'the head of ledger % only moves forward', OLD.ledger
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION certledger.only_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.ledger, NEW.kind, NEW.key, NEW.position)
       IS DISTINCT FROM (OLD.ledger, OLD.kind, OLD.key, OLD.position)
       OR OLD.released_position IS NOT NULL THEN
        RAISE EXCEPTION 'claim % % can only be released, and once', OLD.kind, OLD.key
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION certledger.destroyed_for_good() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.ledger <> OLD.ledger OR NEW.person <> OLD.person OR OLD.destroyed_at IS NOT NULL THEN
        RAISE EXCEPTION 'the key of person % was destroyed for good', OLD.person
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['journal', 'commands', 'checkpoints'] LOOP
        EXECUTE format('CREATE TRIGGER no_update BEFORE UPDATE ON certledger.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change()', name);
        EXECUTE format('ALTER TABLE certledger.%I ENABLE ALWAYS TRIGGER no_update', name);
    END LOOP;
    FOREACH name IN ARRAY
        ARRAY['journal', 'commands', 'checkpoints', 'claims', 'ledgers', 'person_keys'] LOOP
        EXECUTE format('CREATE TRIGGER no_delete BEFORE DELETE ON certledger.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change()', name);
        EXECUTE format('ALTER TABLE certledger.%I ENABLE ALWAYS TRIGGER no_delete', name);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON certledger.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change()', name);
        EXECUTE format('ALTER TABLE certledger.%I ENABLE ALWAYS TRIGGER no_truncate', name);
    END LOOP;
END $$;

CREATE TRIGGER only_forward BEFORE UPDATE ON certledger.ledgers
    FOR EACH ROW EXECUTE FUNCTION certledger.only_forward();
CREATE TRIGGER only_release BEFORE UPDATE ON certledger.claims
    FOR EACH ROW EXECUTE FUNCTION certledger.only_release();
CREATE TRIGGER destroyed_for_good BEFORE UPDATE ON certledger.person_keys
    FOR EACH ROW EXECUTE FUNCTION certledger.destroyed_for_good();
ALTER TABLE certledger.ledgers ENABLE ALWAYS TRIGGER only_forward;
ALTER TABLE certledger.claims ENABLE ALWAYS TRIGGER only_release;
ALTER TABLE certledger.person_keys ENABLE ALWAYS TRIGGER destroyed_for_good;

-- --- what the program may do --------------------------------------------------------------------

GRANT USAGE ON SCHEMA certledger TO certledger_app;
GRANT USAGE, CREATE ON SCHEMA views TO certledger_app;
GRANT SELECT ON ALL TABLES IN SCHEMA certledger TO certledger_app;
GRANT INSERT ON certledger.journal, certledger.commands, certledger.claims,
    certledger.person_keys, certledger.checkpoints TO certledger_app;
GRANT INSERT (ledger, site_code) ON certledger.ledgers TO certledger_app;
GRANT UPDATE (position, recorded_at, site_code) ON certledger.ledgers TO certledger_app;
GRANT UPDATE (released_position) ON certledger.claims TO certledger_app;
GRANT UPDATE (master_key_id, wrapped, destroyed_at) ON certledger.person_keys TO certledger_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON certledger.snapshots, certledger.tracking
    TO certledger_app;

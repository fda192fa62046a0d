-- Logins and their pseudonyms. Everything else names people by pseudonym; a login itself is often
-- a phone number, and only its HMAC under a key that is not in the database is here.
CREATE TABLE certledger.logins (
    ledger    text  COLLATE "C" NOT NULL,
    key_id    text  COLLATE "C" NOT NULL CHECK (length(key_id) = 8),
    mac       bytea             NOT NULL CHECK (octet_length(mac) = 32),
    pseudonym text  COLLATE "C" NOT NULL CHECK (pseudonym ~ '^[0-9a-f]{32}$'),
    seal      bytea             NOT NULL CHECK (octet_length(seal) = 32),
    seal_key  text  COLLATE "C" NOT NULL CHECK (length(seal_key) = 8),
    CONSTRAINT logins_pkey PRIMARY KEY (ledger, key_id, mac),
    CONSTRAINT logins_pseudonym UNIQUE (ledger, pseudonym, key_id)
);

-- The program may not delete rows by itself; the erasure of a person does it by this function.
CREATE FUNCTION certledger.forget_logins(of_ledger text, pseudonyms text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('certledger.erasing', 'on', true);
    DELETE FROM certledger.logins WHERE ledger = of_ledger AND pseudonym = ANY (pseudonyms);
    PERFORM set_config('certledger.erasing', 'off', true);
END $$;
REVOKE ALL ON FUNCTION certledger.forget_logins(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION certledger.forget_logins(text, text[]) TO certledger_app;

CREATE FUNCTION certledger.only_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('certledger.erasing', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'a login goes with the erasure of its person only'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER no_update BEFORE UPDATE ON certledger.logins
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON certledger.logins
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_change();
CREATE TRIGGER only_erasure BEFORE DELETE ON certledger.logins
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.only_erasure();
ALTER TABLE certledger.logins ENABLE ALWAYS TRIGGER no_update;
ALTER TABLE certledger.logins ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE certledger.logins ENABLE ALWAYS TRIGGER only_erasure;

GRANT SELECT, INSERT ON certledger.logins TO certledger_app;

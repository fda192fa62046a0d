-- Keyed hashes of personal text are stored under the key of an epoch as well, so that nobody can
-- try texts against an old copy of these tables once that key is destroyed. What was stored before
-- has another form, so a database that has such rows is not changed.
DO $$ BEGIN
    IF EXISTS (SELECT FROM certledger.commands) OR EXISTS (SELECT FROM certledger.logins)
            OR EXISTS (SELECT FROM certledger.person_claims) THEN
        RAISE EXCEPTION 'this database was written by a version whose keyed hashes do not end with '
            'an epoch; it cannot be migrated'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Begin with an empty database or a new data directory.';
    END IF;
END $$;

-- The id of the command key, the number of the epoch, the MAC.
ALTER TABLE certledger.commands
    DROP CONSTRAINT commands_request_hash,
    ADD CONSTRAINT commands_request_hash CHECK (octet_length(request_hash) = 40);

-- The id of the login key and the number of the epoch.
ALTER TABLE certledger.logins
    DROP CONSTRAINT logins_key_id_check,
    ADD CONSTRAINT logins_key_id CHECK (key_id ~ '^[0-9a-f]{8}\.[1-9][0-9]{0,8}$');

-- A row of a login comes under a later epoch, with the same login key, and takes no other row's
-- place: who has the database only cannot give a login the name of another one, or have two names
-- become one. What does not fit stays as it is and holds the epoch's end.
CREATE FUNCTION certledger.renew_logins(
    of_ledger text, old_ids text[], old_macs bytea[], new_ids text[], new_macs bytea[],
    seals bytea[], of_seal_key text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(old_ids, new_ids) AS r (old_id, new_id)
               WHERE split_part(new_id, '.', 1) <> split_part(old_id, '.', 1)
                  OR split_part(new_id, '.', 2)::integer <= split_part(old_id, '.', 2)::integer)
       OR EXISTS (SELECT FROM unnest(new_ids, new_macs) AS r (new_id, new_mac)
                  GROUP BY new_id, new_mac HAVING count(*) > 1) THEN
        RAISE EXCEPTION 'a login would come under another key, or no later epoch'
            USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('certledger.erasing', 'on', true);
    WITH renewed AS (
        SELECT * FROM unnest(old_ids, old_macs, new_ids, new_macs, seals)
            AS r (old_id, old_mac, new_id, new_mac, seal)
    ), gone AS (
        DELETE FROM certledger.logins l USING renewed r
        WHERE l.ledger = of_ledger AND l.key_id = r.old_id AND l.mac = r.old_mac
        AND NOT EXISTS (SELECT FROM certledger.logins o WHERE o.ledger = of_ledger
            AND o.key_id = r.new_id AND o.mac = r.new_mac AND o.pseudonym <> l.pseudonym)
        RETURNING r.new_id, r.new_mac, l.pseudonym, r.seal
    )
    INSERT INTO certledger.logins (ledger, key_id, mac, pseudonym, seal, seal_key)
    SELECT of_ledger, new_id, new_mac, pseudonym, seal, of_seal_key FROM gone
    ON CONFLICT DO NOTHING;
    PERFORM set_config('certledger.erasing', 'off', true);
END $$;
REVOKE ALL ON FUNCTION certledger.renew_logins(
    text, text[], bytea[], text[], bytea[], bytea[], text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION certledger.renew_logins(
    text, text[], bytea[], text[], bytea[], bytea[], text) TO certledger_app;

-- Which rows are still under an epoch.
CREATE INDEX person_claims_form ON certledger.person_claims (split_part(index, ':', 1));
CREATE INDEX logins_epoch ON certledger.logins (split_part(key_id, '.', 2));

-- A process that was stopped since the epoch ended must not write under it: nobody else would find
-- the row. The lock is that of who ends an epoch, who then sees the row and does not. The argument
-- is the column that names the epoch: index "<form>.<epoch>:<digits>", key_id "<id>.<epoch>".
CREATE FUNCTION certledger.refuse_ended_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('certledger epochs', 0));
    SELECT epoch INTO ended FROM (
            SELECT DISTINCT split_part(split_part(to_jsonb(row) ->> TG_ARGV[0], ':', 1), '.', 2)
            FROM added AS row) AS named (epoch)
        WHERE NOT EXISTS (SELECT FROM certledger.epochs e
            WHERE e.destroyed_at IS NULL AND e.epoch::text = named.epoch);
    IF FOUND THEN
        RAISE EXCEPTION 'epoch % of rows of % is over', ended, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse_ended_epoch AFTER INSERT ON certledger.person_claims
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_ended_epoch('index');
CREATE TRIGGER refuse_ended_epoch AFTER INSERT ON certledger.logins
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION certledger.refuse_ended_epoch('key_id');
ALTER TABLE certledger.person_claims ENABLE ALWAYS TRIGGER refuse_ended_epoch;
ALTER TABLE certledger.logins ENABLE ALWAYS TRIGGER refuse_ended_epoch;

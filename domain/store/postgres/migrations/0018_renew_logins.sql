-- A row of a login comes under a later epoch, with the same login key, and takes no other row's
-- place: who has the database only cannot give a login the name of another one, or have two names
-- become one. What does not fit stays as it is and holds the epoch's end.
CREATE OR REPLACE FUNCTION certledger.renew_logins(
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

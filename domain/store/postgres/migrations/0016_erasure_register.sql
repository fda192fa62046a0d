-- A restored database does the erasures again that it has lost (erasure_repeated.v1), and forgets
-- the logins that went with them.
CREATE OR REPLACE FUNCTION certledger.forget_logins(of_ledger text, pseudonyms text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(pseudonyms) AS p
               WHERE certledger.acted_as_staff(of_ledger, p)) THEN
        RAISE EXCEPTION 'this login has acted as staff'
            USING ERRCODE = 'restrict_violation';
    END IF;
    -- The erasure is an event of the same transaction, or an earlier one.
    IF EXISTS (SELECT FROM certledger.claims WHERE ledger = of_ledger AND kind = 'person_login'
               AND key = ANY (pseudonyms) AND released_position IS NULL)
       OR EXISTS (SELECT FROM unnest(pseudonyms) AS p WHERE NOT EXISTS (
               SELECT FROM certledger.claims c
               JOIN certledger.journal j ON j.ledger = c.ledger AND j.position = c.released_position
               WHERE c.ledger = of_ledger AND c.kind = 'person_login' AND c.key = p
                 AND j.topic IN ('erasure_confirmed.v1', 'erasure_repeated.v1'))) THEN
        RAISE EXCEPTION 'the person of this login was not erased'
            USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('certledger.erasing', 'on', true);
    DELETE FROM certledger.logins WHERE ledger = of_ledger AND pseudonym = ANY (pseudonyms);
    PERFORM set_config('certledger.erasing', 'off', true);
END $$;

-- Every second, and from the beginning at each start, a service asks for the erasures of a ledger
-- (domain/store/tlog/erasure_entries.py). Only they are in this index, so it costs other events
-- nothing.
CREATE INDEX journal_erasures ON certledger.journal (ledger, position)
    WHERE topic IN ('erasure_confirmed.v1', 'erasure_continued.v1', 'erasure_repeated.v1');

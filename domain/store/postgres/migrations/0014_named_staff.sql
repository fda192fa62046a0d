-- A fact names everybody who acts as staff, with their first command: it says exactly who has, also
-- where a history was imported.
DO $$
BEGIN
    IF EXISTS (SELECT FROM certledger.journal j WHERE convert_from(j.envelope, 'UTF8')::json
               -> 'actor' ->> 'role' NOT IN ('candidate', 'service'))
       AND NOT EXISTS (SELECT FROM certledger.journal WHERE topic = 'actor_named.v1') THEN
        RAISE EXCEPTION 'this database was written by a version that did not name staff; it cannot '
            'be migrated'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Begin with an empty database or a new data directory.';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION certledger.acted_as_staff(of_ledger text, of_pseudonym text)
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT EXISTS (SELECT FROM certledger.journal
                   WHERE ledger = of_ledger AND stream = 'actor-' || of_pseudonym)
$$;

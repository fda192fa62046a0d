-- Blind indexes of persons leave the events: an index that is hashed into the log can never be
-- removed, and whoever gets the index key names the number. Claims of kind person_document follow
-- from such indexes, so a database that has some is not changed.
DO $$ BEGIN
    IF EXISTS (SELECT FROM certledger.claims WHERE kind = 'person_document') THEN
        RAISE EXCEPTION 'this database was written by a version whose events hold blind indexes; '
            'it cannot be migrated'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Begin with an empty database or a new data directory.';
    END IF;
END $$;

-- Derived from the events and the keys: may lose rows, and is computed again. An index is an HMAC
-- under a key that is not in the database; the rows of a person go with their erasure.
CREATE TABLE certledger.person_claims (
    ledger    text COLLATE "C" NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    index     text COLLATE "C" NOT NULL,
    person_id text COLLATE "C" NOT NULL,
    CONSTRAINT person_claims_pkey PRIMARY KEY (ledger, kind, index, person_id)
);
CREATE UNIQUE INDEX person_claims_document ON certledger.person_claims (ledger, index)
    WHERE kind = 'document';
CREATE INDEX person_claims_person ON certledger.person_claims (ledger, person_id);

GRANT SELECT, INSERT, DELETE ON certledger.person_claims TO certledger_app;

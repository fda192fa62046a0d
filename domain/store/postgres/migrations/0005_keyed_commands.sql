-- What was asked is stored as a keyed hash with the id of its key before it, so that nobody who
-- reads the table can try out what a request held. A plain hash cannot be made into a keyed one:
-- the request is not stored.
DO $$
BEGIN
    IF EXISTS (SELECT FROM certledger.commands) THEN
        RAISE EXCEPTION 'the table of commands holds plain hashes, of an unreleased version'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Begin with an empty database; commands are never deleted.';
    END IF;
END $$;

ALTER TABLE certledger.commands
    ADD CONSTRAINT commands_request_hash CHECK (octet_length(request_hash) = 36);

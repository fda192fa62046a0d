-- A ledger has more than one log once a loss was accepted: `<origin>/2` follows `<origin>`. Heads
-- of one size then differ, so the log is part of their key. There are no rows yet: see 0003.
ALTER TABLE certledger.checkpoints
    ADD COLUMN origin text COLLATE "C" NOT NULL,
    DROP CONSTRAINT checkpoints_pkey,
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (ledger, origin, size);

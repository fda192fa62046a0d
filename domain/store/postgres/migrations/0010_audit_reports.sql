-- The last report of the background audit that said something new, with a seal under a key that is
-- not in the database: what it found wrong stays so when the services are started again.
CREATE TABLE certledger.audit_reports (
    name   text COLLATE "C" PRIMARY KEY,
    report text NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON certledger.audit_reports TO certledger_app;

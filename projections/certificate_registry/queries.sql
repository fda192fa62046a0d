-- by_numbers --
-- Issued certificates with one of these numbers, in all ledgers; with what the seal is over.
SELECT number AS asked, false AS replaced, ledger, seal, kind, number, answer,
    name_index, document_index, passport_index, verify_token, position
FROM views.certificates
WHERE number = ANY(%(keys)s) AND issued

-- by_documents --
-- Issued certificates of the persons with one of these document indexes; a passport's number is
-- also found without its country.
SELECT document_index AS asked, false AS replaced, ledger, seal, kind, number, answer,
    name_index, document_index, passport_index, verify_token, position
FROM views.certificates
WHERE document_index = ANY(%(keys)s) AND issued
UNION ALL
SELECT passport_index, false, ledger, seal, kind, number, answer,
    name_index, document_index, passport_index, verify_token, position
FROM views.certificates
WHERE passport_index = ANY(%(keys)s) AND issued

-- by_tokens --
-- By the link of the current version, of a replaced one, or of a key that was retired.
SELECT verify_token AS asked, false AS replaced, ledger, seal, kind, number, answer,
    name_index, document_index, passport_index, verify_token, position
FROM views.certificates
WHERE verify_token = ANY(%(keys)s) AND issued
UNION ALL
SELECT t.token, t.version <> c.version, c.ledger, c.seal, c.kind, c.number, c.answer, c.name_index,
    c.document_index, c.passport_index, c.verify_token, c.position
FROM views.certificate_old_tokens t
JOIN views.certificates c USING (ledger, number, kind)
WHERE t.token = ANY(%(keys)s) AND c.issued

-- standing_changes --
-- What changed certificates after their issue: beyond what was read before, of every ledger whose
-- head is another than then. keys: "<last change read>|<head then>|<ledger>"; at most 10,000
-- changes of a ledger (`standing_changes.PAGE`).
WITH known AS (
    SELECT jsonb_object_agg(split_part(key, '|', 3),
        jsonb_build_array(split_part(key, '|', 1), split_part(key, '|', 2))) AS ends
    FROM unnest(%(keys)s::text[]) AS key
), moved AS (
    SELECT l.ledger, l.position, coalesce((k.ends -> l.ledger ->> 0)::bigint, 0) AS change
    FROM certledger.ledgers l, known k
    WHERE l.position IS DISTINCT FROM (k.ends -> l.ledger ->> 1)::bigint
)
SELECT ledger, position, kind, number FROM (
    SELECT e.ledger, e.position, e.data ->> 'kind' AS kind, e.data ->> 'number' AS number,
        false AS is_head
    FROM moved, LATERAL (
        SELECT j.ledger, j.position, convert_from(j.envelope, 'UTF8')::json -> 'data' AS data
        FROM certledger.journal j
        WHERE j.ledger = moved.ledger AND j.position > moved.change
          AND j.position <= moved.position
          AND j.topic IN ('certificate_corrected.v1', 'certificate_reissued.v1',
              'certificate_suspended.v1', 'certificate_reinstated.v1', 'certificate_revoked.v1')
        ORDER BY j.position
        LIMIT 10000
    ) e
    UNION ALL
    SELECT ledger, position, NULL, NULL, true FROM moved
) found
ORDER BY is_head, position

-- of_application --
-- For staff: unissued certificates too.
SELECT * FROM views.certificates
WHERE ledger = %(ledger)s AND application_id = %(application_id)s
ORDER BY kind, number

-- listed --
-- For staff, in order of number.
SELECT * FROM views.certificates
WHERE ledger = %(ledger)s AND kind = %(kind)s
  AND (%(progress)s::text[] IS NULL OR progress = ANY(%(progress)s))
  AND (%(standing)s::text IS NULL OR standing = %(standing)s)
  AND (%(after)s::text IS NULL OR number > %(after)s)
ORDER BY number
LIMIT %(limit)s

-- history --
SELECT * FROM views.certificate_states
WHERE ledger = %(ledger)s AND number = %(number)s
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(at_position)s::bigint IS NULL OR position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR recorded_at <= %(at_time)s)
ORDER BY position

-- standing_on --
-- The state at a time (occurred) as recorded by then (as of), newest first.
SELECT * FROM views.certificate_states
WHERE ledger = %(ledger)s AND number = %(number)s
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND occurred_at <= %(moment)s
  AND (%(at_position)s::bigint IS NULL OR position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR recorded_at <= %(at_time)s)
ORDER BY position DESC
LIMIT 1

-- statistics --
-- Talent statistics: valid issued certificates by level, occupation and month of issue.
SELECT c.level, c.occupation, c.occupation_name,
    to_char(c.issued_on, 'YYYY-MM') AS month, count(*) AS certificates
FROM views.certificates c
WHERE c.ledger = %(ledger)s AND c.kind = %(kind)s AND c.issued AND c.standing = 'valid'
  AND (%(issued_from)s::date IS NULL OR c.issued_on >= %(issued_from)s)
  AND (%(issued_before)s::date IS NULL OR c.issued_on < %(issued_before)s)
GROUP BY c.level, c.occupation, c.occupation_name, month
ORDER BY month, c.level, c.occupation, c.occupation_name

-- standings --
SELECT kind, standing, progress, count(*) AS certificates
FROM views.certificates
WHERE ledger = %(ledger)s AND issued
GROUP BY kind, standing, progress
ORDER BY kind, standing, progress

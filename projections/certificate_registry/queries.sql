-- by_numbers --
-- Issued certificates with one of these numbers, in all ledgers; with what the seal is over.
SELECT number AS asked, ledger, seal, kind, number, answer,
    name_index, document_index, passport_index, verify_token, position,
    person_id, holder_position, history_sha256
FROM views.certificates
WHERE number = ANY(%(keys)s) AND issued

-- by_documents --
-- Issued certificates of the persons with one of these document indexes; a passport's number is
-- also found without its country.
SELECT document_index AS asked, ledger, seal, kind, number, answer,
    name_index, document_index, passport_index, verify_token, position,
    person_id, holder_position, history_sha256
FROM views.certificates
WHERE document_index = ANY(%(keys)s) AND issued
UNION ALL
SELECT passport_index, ledger, seal, kind, number, answer,
    name_index, document_index, passport_index, verify_token, position,
    person_id, holder_position, history_sha256
FROM views.certificates
WHERE passport_index = ANY(%(keys)s) AND issued

-- by_tokens --
-- By the link of the current version, of a replaced one or of a retired key; of the latter two with
-- what their own seal is over.
SELECT verify_token AS asked, ledger, seal, kind, number, answer,
    name_index, document_index, passport_index, verify_token, position,
    person_id, holder_position, history_sha256,
    NULL AS link_seal, NULL::int AS link_version, NULL::bigint AS link_position
FROM views.certificates
WHERE verify_token = ANY(%(keys)s) AND issued
UNION ALL
SELECT t.token, c.ledger, c.seal, c.kind, c.number, c.answer, c.name_index, c.document_index,
    c.passport_index, c.verify_token, c.position, c.person_id, c.holder_position, c.history_sha256,
    t.seal, t.version, t.position
FROM views.certificate_old_tokens t
JOIN views.certificates c USING (ledger, number, kind)
WHERE t.token = ANY(%(keys)s) AND c.issued

-- standing_changes --
-- What changed certificates after their issue, and their holders: in the next 20,000 events of each
-- ledger that has a head other than the one known, of at most 20 ledgers (`standing_changes.PAGE`,
-- `LEDGERS`). keys: "<position read to>|<head known>|<ledger>". After the changes comes a row for
-- each ledger, without a kind: how far it was read, and its head; without head if there is more.
WITH known AS (
    SELECT jsonb_object_agg(split_part(key, '|', 3),
        jsonb_build_array(split_part(key, '|', 1), split_part(key, '|', 2))) AS ends
    FROM unnest(%(keys)s::text[]) AS key
), moved AS (
    SELECT l.ledger, l.position AS head, coalesce((k.ends -> l.ledger ->> 0)::bigint, 0) AS after
    FROM certledger.ledgers l, known k
    WHERE l.position IS DISTINCT FROM (k.ends -> l.ledger ->> 1)::bigint
    LIMIT 20
), page AS MATERIALIZED (
    SELECT m.ledger, m.head, m.after, coalesce(next.upto, m.after) AS upto
    FROM moved m, LATERAL (
        SELECT max(position) AS upto FROM (
            SELECT j.position FROM certledger.journal j
            WHERE j.ledger = m.ledger AND j.position > m.after AND j.position <= m.head
            ORDER BY j.position
            LIMIT 20000
        ) events
    ) next
)
SELECT ledger, position, kind, number FROM (
    SELECT e.ledger, e.position,
        CASE WHEN e.is_person THEN 'person' ELSE coalesce(e.data ->> 'kind', '') END AS kind,
        e.data ->> CASE WHEN e.is_person THEN 'person_id' ELSE 'number' END AS number,
        false AS is_end
    FROM (
        SELECT j.ledger, j.position, convert_from(j.envelope, 'UTF8')::json -> 'data' AS data,
            j.topic IN ('person_corrected.v1', 'erasure_confirmed.v1', 'erasure_continued.v1',
                'erasure_repeated.v1') AS is_person
        FROM page p
        JOIN certledger.journal j
            ON j.ledger = p.ledger AND j.position > p.after AND j.position <= p.upto
        WHERE j.topic IN ('certificate_reported.v1', 'certificate_accepted.v1',
            'certificate_rejected.v1', 'certificate_visible.v1', 'certificate_corrected.v1',
            'certificate_reissued.v1', 'certificate_suspended.v1', 'certificate_reinstated.v1',
            'certificate_revoked.v1', 'person_corrected.v1', 'erasure_confirmed.v1',
            'erasure_continued.v1', 'erasure_repeated.v1')
    ) e
    UNION ALL
    SELECT p.ledger, p.upto, NULL,
        CASE WHEN NOT EXISTS (SELECT FROM certledger.journal j WHERE j.ledger = p.ledger
            AND j.position > p.upto AND j.position <= p.head) THEN p.head::text END,
        true
    FROM page p
) found
ORDER BY is_end

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

-- of_number --
-- For the history of a certificate; two of different kinds may have the same number.
SELECT * FROM views.certificates
WHERE ledger = %(ledger)s AND number = %(number)s
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
ORDER BY kind

-- history --
-- As the fold wrote them, because the digest is over that.
SELECT ledger, application_id, kind, number, position, event, progress, standing, reason_class,
    version, issued_on::text AS issued_on,
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred_at,
    to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS recorded_at
FROM views.certificate_states
WHERE ledger = %(ledger)s AND number = %(number)s AND kind = %(kind)s
ORDER BY position

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

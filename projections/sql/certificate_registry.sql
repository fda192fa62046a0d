-- by_numbers --
-- Every issued certificate with one of these numbers, in whatever ledger.
SELECT c.number AS asked, p.name_index, p.document_index, c.position,
    c.ledger, c.kind, c.number, p.masked_name, p.masked_number,
    p.document_type, c.occupation, c.occupation_name, c.edition, c.level, c.job_type, c.theory,
    c.practical, c.issued_on, b.organisation_name, b.issuer_name, c.progress, c.seen_province_on,
    c.seen_nation_on, c.standing, c.reason_class, c.version, c.reissued_on, c.current_since
FROM views.certificates c
LEFT JOIN views.certificate_people p ON p.ledger = c.ledger AND p.person_id = c.person_id
LEFT JOIN views.certificate_book b ON b.ledger = c.ledger
WHERE c.number = ANY(%(keys)s) AND c.issued
ORDER BY c.ledger, c.kind, c.number

-- by_documents --
-- Every issued certificate of the persons with one of these document indexes.
SELECT p.document_index AS asked, p.name_index, p.document_index, c.position,
    c.ledger, c.kind, c.number, p.masked_name, p.masked_number,
    p.document_type, c.occupation, c.occupation_name, c.edition, c.level, c.job_type, c.theory,
    c.practical, c.issued_on, b.organisation_name, b.issuer_name, c.progress, c.seen_province_on,
    c.seen_nation_on, c.standing, c.reason_class, c.version, c.reissued_on, c.current_since
FROM views.certificate_people p
JOIN views.certificates c ON c.ledger = p.ledger AND c.person_id = p.person_id
LEFT JOIN views.certificate_book b ON b.ledger = c.ledger
WHERE p.document_index = ANY(%(keys)s) AND c.issued
ORDER BY c.ledger, c.issued_on, c.kind, c.number

-- by_tokens --
-- By the link of the present version, or of one that was replaced.
SELECT c.verify_token AS asked, c.position,
    c.ledger, c.kind, c.number, p.masked_name, p.masked_number,
    p.document_type, c.occupation, c.occupation_name, c.edition, c.level, c.job_type, c.theory,
    c.practical, c.issued_on, b.organisation_name, b.issuer_name, c.progress, c.seen_province_on,
    c.seen_nation_on, c.standing, c.reason_class, c.version, c.reissued_on, c.current_since,
    false AS replaced
FROM views.certificates c
LEFT JOIN views.certificate_people p ON p.ledger = c.ledger AND p.person_id = c.person_id
LEFT JOIN views.certificate_book b ON b.ledger = c.ledger
WHERE c.verify_token = ANY(%(keys)s) AND c.issued
UNION ALL
SELECT t.token, c.position,
    c.ledger, c.kind, c.number, p.masked_name, p.masked_number,
    p.document_type, c.occupation, c.occupation_name, c.edition, c.level, c.job_type, c.theory,
    c.practical, c.issued_on, b.organisation_name, b.issuer_name, c.progress, c.seen_province_on,
    c.seen_nation_on, c.standing, c.reason_class, c.version, c.reissued_on, c.current_since,
    true
FROM views.certificate_old_tokens t
JOIN views.certificates c ON c.ledger = t.ledger AND c.number = t.number AND c.kind = t.kind
LEFT JOIN views.certificate_people p ON p.ledger = c.ledger AND p.person_id = c.person_id
LEFT JOIN views.certificate_book b ON b.ledger = c.ledger
WHERE t.token = ANY(%(keys)s) AND c.issued

-- of_application --
-- For those who work with it: numbered ones too.
SELECT c.*, p.masked_name, p.masked_number, p.document_type, p.name_index, p.document_index,
    b.organisation_name, b.issuer_name
FROM views.certificates c
LEFT JOIN views.certificate_people p USING (ledger, person_id)
LEFT JOIN views.certificate_book b USING (ledger)
WHERE c.ledger = %(ledger)s AND c.application_id = %(application_id)s
ORDER BY c.kind, c.number

-- listed --
-- For those who work with it, in order of number.
SELECT c.*, p.masked_name, p.masked_number, p.document_type, p.name_index, p.document_index,
    b.organisation_name, b.issuer_name
FROM views.certificates c
LEFT JOIN views.certificate_people p USING (ledger, person_id)
LEFT JOIN views.certificate_book b USING (ledger)
WHERE c.ledger = %(ledger)s AND c.kind = %(kind)s
  AND (%(progress)s::text[] IS NULL OR c.progress = ANY(%(progress)s))
  AND (%(standing)s::text IS NULL OR c.standing = %(standing)s)
  AND (%(after)s::text IS NULL OR c.number > %(after)s)
ORDER BY c.number
LIMIT %(limit)s

-- history --
SELECT * FROM views.certificate_states
WHERE ledger = %(ledger)s AND number = %(number)s
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(at_position)s::bigint IS NULL OR position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR recorded_at <= %(at_time)s)
ORDER BY position

-- standing_on --
-- What was so at a time (occurred) as we knew it (as of), newest first.
SELECT * FROM views.certificate_states
WHERE ledger = %(ledger)s AND number = %(number)s
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND occurred_at <= %(moment)s
  AND (%(at_position)s::bigint IS NULL OR position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR recorded_at <= %(at_time)s)
ORDER BY position DESC
LIMIT 1

-- statistics --
-- Talent statistics: issued certificates that count, by level, occupation and month of issue.
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

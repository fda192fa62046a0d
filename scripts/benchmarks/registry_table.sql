INSERT INTO views.bench_certificates (ledger, application_id, kind, number, person_id,
    masked_name, masked_number, document_type, name_index, document_index, holder_position,
    organisation_name,
    issuer_name, source, occupation, occupation_name, edition, level, job_type, theory, practical,
    issued, issued_on, progress, seen_province_on, seen_nation_on, report_id, standing,
    reason_class, version, reissued_on, current_since, verify_token, position,
    changed_at, history_sha256, answer)
WITH facts AS MATERIALIZED (
    SELECT ledger, position, split_part(topic, '.', 1) AS what, occurred_at, recorded_at,
        convert_from(envelope, 'UTF8')::jsonb -> 'data' AS data
    FROM certledger.journal
    WHERE topic = ANY(%(topics)s)),
applications AS (
    SELECT ledger, data ->> 'application_id' AS application_id,
        data ->> 'occupation' AS occupation, data ->> 'occupation_name' AS occupation_name,
        data ->> 'edition' AS edition, (data ->> 'level')::integer AS level,
        data ->> 'job_type' AS job_type
    FROM facts WHERE what = 'application_opened'),
results AS (
    SELECT DISTINCT ON (ledger, application_id) ledger, data ->> 'application_id' AS application_id,
        data ->> 'theory' AS theory, data ->> 'practical' AS practical
    FROM facts WHERE what = 'result_published'
    ORDER BY ledger, application_id, position DESC),
people AS (
    SELECT DISTINCT ON (ledger, person_id) ledger, data ->> 'person_id' AS person_id,
        '*' AS masked_name, '*' AS masked_number, data ->> 'document_type' AS document_type,
        encode(sha256(convert_to(data ->> 'name', 'UTF8')), 'hex') AS name_index,
        encode(sha256(convert_to(data ->> 'document_number', 'UTF8')), 'hex') AS document_index,
        position AS holder_position
    FROM facts WHERE what IN ('person_registered', 'person_corrected')
    ORDER BY ledger, person_id, position DESC),
ledgers AS (
    SELECT ledger, data ->> 'organisation_name' AS organisation_name,
        data ->> 'issuer_name' AS issuer_name
    FROM facts WHERE what = 'ledger_opened'),
certificates AS (
    SELECT ledger, data ->> 'number' AS number, data ->> 'kind' AS kind,
        max(data ->> 'application_id') AS application_id,
        max(data ->> 'person_id') AS person_id,
        max(data ->> 'source') AS source,
        max(data ->> 'issued_on')::date AS issued_on,
        (array_agg(CASE what
            WHEN 'certificate_numbered' THEN 'numbered' WHEN 'certificate_reported' THEN 'reported'
            WHEN 'certificate_accepted' THEN 'accepted' WHEN 'certificate_rejected' THEN 'rejected'
            WHEN 'certificate_visible' THEN 'visible' ELSE 'issued' END ORDER BY position DESC)
            FILTER (WHERE what NOT IN ('certificate_reissued', 'certificate_suspended',
                'certificate_reinstated', 'certificate_revoked')))[1] AS progress,
        (array_agg(data ->> 'seen_on' ORDER BY position DESC) FILTER (WHERE
            what = 'certificate_corrected' OR data ->> 'scope' = 'province'))[1]::date
            AS seen_province_on,
        (array_agg(data ->> 'seen_on' ORDER BY position DESC) FILTER (WHERE
            what = 'certificate_corrected' OR data ->> 'scope' = 'nation'))[1]::date
            AS seen_nation_on,
        (array_agg(data ->> 'report_id' ORDER BY position DESC)
            FILTER (WHERE what = 'certificate_reported'))[1] AS report_id,
        coalesce((array_agg(CASE what WHEN 'certificate_suspended' THEN 'suspended'
            WHEN 'certificate_revoked' THEN 'revoked' ELSE 'valid' END ORDER BY position DESC)
            FILTER (WHERE what IN ('certificate_suspended', 'certificate_reinstated',
                'certificate_revoked')))[1], 'valid') AS standing,
        max(data ->> 'reason_class') AS reason_class,
        coalesce(max((data ->> 'version')::integer), 0) AS version,
        (array_agg(data ->> 'reissued_on' ORDER BY position DESC)
            FILTER (WHERE what = 'certificate_reissued'))[1]::date AS reissued_on,
        (array_agg(occurred_at ORDER BY position DESC) FILTER (WHERE what NOT IN
            ('certificate_reported', 'certificate_accepted', 'certificate_rejected',
                'certificate_visible')))[1] AS current_since,
        max(position) AS position, max(recorded_at) AS changed_at
    FROM facts WHERE starts_with(what, 'certificate_')
    GROUP BY 1, 2, 3)
SELECT c.ledger, c.application_id, c.kind, c.number, c.person_id, p.masked_name,
    p.masked_number, p.document_type, p.name_index, p.document_index, p.holder_position,
    b.organisation_name,
    b.issuer_name, c.source, a.occupation, a.occupation_name, a.edition, a.level, a.job_type,
    r.theory, r.practical, c.version > 0,
    c.issued_on, c.progress, c.seen_province_on, c.seen_nation_on, c.report_id, c.standing,
    c.reason_class, c.version, c.reissued_on, c.current_since,
    CASE WHEN c.version > 0 THEN c.ledger || '-aa' || left(encode(sha256(convert_to(
        concat_ws('|', c.ledger, c.kind, c.number, c.version), 'UTF8')), 'hex'), 32) END,
    c.position, c.changed_at, '-',
    CASE WHEN c.version > 0 THEN json_build_array(c.ledger, c.kind, c.number, p.masked_name,
        p.masked_number, p.document_type, a.occupation, a.occupation_name, a.edition, a.level,
        a.job_type, r.theory, r.practical, c.issued_on, b.organisation_name, b.issuer_name,
        c.progress, c.seen_province_on, c.seen_nation_on, c.standing, c.reason_class, c.version,
        c.reissued_on, c.current_since)::text END
FROM certificates c
JOIN applications a USING (ledger, application_id)
JOIN people p USING (ledger, person_id)
JOIN ledgers b USING (ledger)
LEFT JOIN results r USING (ledger, application_id)

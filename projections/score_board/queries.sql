-- notices --
-- Newest state of each notice; a page after a cursor, latest published first.
SELECT * FROM (
    SELECT DISTINCT ON (n.notice_id) n.*, s.name AS session_name, s.place, s.occupation, s.level
    FROM views.score_board_notices n
    LEFT JOIN views.score_board_sessions s USING (ledger, session_id)
    WHERE n.ledger = %(ledger)s
      AND (%(at_position)s::bigint IS NULL OR n.position <= %(at_position)s)
      AND (%(at_time)s::timestamptz IS NULL OR n.recorded_at <= %(at_time)s)
    ORDER BY n.notice_id, n.position DESC) newest
WHERE (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(session_id)s::text IS NULL OR session_id = %(session_id)s)
  AND (%(after_day)s::date IS NULL
       OR (published_on, notice_id) < (%(after_day)s::date, %(after_id)s::text))
ORDER BY published_on DESC, notice_id DESC
LIMIT %(limit)s

-- notice --
SELECT n.*, s.name AS session_name, s.place, s.occupation, s.level, s.ended_at
FROM views.score_board_notices n
LEFT JOIN views.score_board_sessions s USING (ledger, session_id)
WHERE n.ledger = %(ledger)s AND n.notice_id = %(notice_id)s
  AND (%(at_position)s::bigint IS NULL OR n.position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR n.recorded_at <= %(at_time)s)
ORDER BY n.position DESC
LIMIT 1

-- rows --
-- Newest state of each row, by ticket. Masked names and numbers are always the current ones.
SELECT newest.*, p.masked_name, p.masked_number
FROM (
    SELECT DISTINCT ON (r.application_id) r.*
    FROM views.score_board_rows r
    WHERE r.ledger = %(ledger)s AND r.notice_id = %(notice_id)s
      AND (%(at_position)s::bigint IS NULL OR r.position <= %(at_position)s)
      AND (%(at_time)s::timestamptz IS NULL OR r.recorded_at <= %(at_time)s)
    ORDER BY r.application_id, r.position DESC) newest
LEFT JOIN views.score_board_people p USING (ledger, person_id)
WHERE (%(after)s::text IS NULL OR ticket_number > %(after)s)
ORDER BY ticket_number
LIMIT %(limit)s

-- totals --
-- What stays public after the period: no row, no person.
SELECT count(*) AS rows,
    count(*) FILTER (WHERE passed) AS passed,
    count(*) FILTER (WHERE NOT passed AND theory IS NOT NULL AND practical IS NOT NULL) AS failed,
    count(*) FILTER (WHERE theory IS NULL OR practical IS NULL) AS absent,
    count(*) FILTER (WHERE state = 'withheld') AS withheld,
    count(*) FILTER (WHERE state = 'under_objection') AS under_objection,
    count(*) FILTER (WHERE state = 'final') AS final
FROM (
    SELECT DISTINCT ON (r.application_id) r.*
    FROM views.score_board_rows r
    WHERE r.ledger = %(ledger)s AND r.notice_id = %(notice_id)s
      AND (%(at_position)s::bigint IS NULL OR r.position <= %(at_position)s)
      AND (%(at_time)s::timestamptz IS NULL OR r.recorded_at <= %(at_time)s)
    ORDER BY r.application_id, r.position DESC) newest

-- results_of_application --
-- Every state of every row of an application, oldest first.
SELECT r.*, n.kind, n.session_id FROM views.score_board_rows r
JOIN LATERAL (
    SELECT kind, session_id FROM views.score_board_notices n
    WHERE n.ledger = r.ledger AND n.notice_id = r.notice_id ORDER BY position LIMIT 1) n ON true
WHERE r.ledger = %(ledger)s AND r.application_id = %(application_id)s
  AND (%(at_position)s::bigint IS NULL OR r.position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR r.recorded_at <= %(at_time)s)
ORDER BY r.position, r.notice_id

-- objections --
SELECT * FROM views.score_board_objections
WHERE ledger = %(ledger)s AND notice_id = %(notice_id)s
  AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY objection_id

-- due --
-- Items of one work that are due, the longest due first, a few of each ledger; without some.
SELECT i.ledger, i.item_id, i.attempt, i.due_at, coalesce(t.position, 0) AS folded
FROM unnest(%(ledgers)s::text[]) AS l (ledger)
CROSS JOIN LATERAL (
    SELECT * FROM views.worklist_items w
    WHERE w.ledger = l.ledger AND w.due_at <= %(now)s AND w.work = %(work)s
      AND NOT EXISTS (
        SELECT FROM unnest(%(but_ledgers)s::text[], %(but_items)s::text[],
                           %(but_due)s::timestamptz[]) AS but (ledger, item_id, due_at)
        WHERE but.ledger = w.ledger AND but.item_id = w.item_id AND but.due_at = w.due_at)
    ORDER BY w.due_at, w.item_id
    LIMIT %(limit)s) i
LEFT JOIN certledger.tracking t ON t.ledger = i.ledger AND t.view = 'worklist'
ORDER BY i.due_at, i.ledger, i.item_id

-- erased_files --
-- Where files are named whose keys were destroyed after a position, in order.
SELECT erased_at, named_at FROM views.worklist_files
WHERE ledger = %(ledger)s AND (erased_at, named_at) > (%(erased_at)s, %(named_at)s)
  AND erased_at IS NOT NULL
ORDER BY erased_at, named_at
LIMIT %(limit)s

-- copies_due --
-- Editions of the operator's ledger that a ledger has no copy of, in order of adoption. A ledger of
-- which nothing is folded is not open yet.
SELECT l.ledger, c.item_id, 1 AS attempt, c.due_at, t.position AS folded
FROM unnest(%(ledgers)s::text[]) AS l (ledger)
JOIN certledger.tracking t ON t.ledger = l.ledger AND t.view = 'worklist' AND t.position > 0
CROSS JOIN LATERAL (
    SELECT a.edition_kind || '.' || a.sha256 AS item_id, a.adopted_at AS due_at, a.position
    FROM views.worklist_adopted a
    WHERE a.ledger = %(service)s AND l.ledger <> %(service)s AND a.adopted_at <= %(now)s
      AND NOT EXISTS (
        SELECT FROM views.worklist_copied w WHERE w.ledger = l.ledger AND w.sha256 = a.sha256)
      AND NOT EXISTS (
        SELECT FROM unnest(%(but_ledgers)s::text[], %(but_items)s::text[]) AS but (ledger, item_id)
        WHERE but.ledger = l.ledger AND but.item_id = a.edition_kind || '.' || a.sha256)
    ORDER BY a.position
    LIMIT %(limit)s) c
ORDER BY c.position, l.ledger

-- backlog --
-- How much is due and overdue, since when, and when the service last did something by itself.
SELECT ledger, work, coalesce(b.due, 0) AS due, coalesce(b.overdue, 0) AS overdue,
    b.oldest_due_at, d.last_done_at
FROM (
    SELECT ledger, work, count(*) AS due, min(due_at) AS oldest_due_at,
        count(*) FILTER (WHERE due_at <= %(overdue_before)s) AS overdue
    FROM (
        SELECT ledger, work, due_at FROM views.worklist_items
        WHERE ledger = ANY(%(ledgers)s) AND due_at <= %(now)s
        UNION ALL
        SELECT t.ledger, %(copying)s, a.adopted_at
        FROM certledger.tracking t
        JOIN views.worklist_adopted a ON a.ledger = %(service)s
        WHERE t.ledger = ANY(%(ledgers)s) AND t.ledger <> %(service)s AND t.view = 'worklist'
          AND t.position > 0 AND a.adopted_at <= %(now)s
          AND NOT EXISTS (
            SELECT FROM views.worklist_copied w
            WHERE w.ledger = t.ledger AND w.sha256 = a.sha256)) items
    GROUP BY ledger, work) b
FULL JOIN (
    SELECT ledger, work, last_done_at FROM views.worklist_done
    WHERE ledger = ANY(%(ledgers)s)) d USING (ledger, work)
ORDER BY ledger, work

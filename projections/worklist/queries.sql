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

-- backlog --
-- How much is due and overdue, since when, and when the service last did something by itself.
SELECT ledger, work, coalesce(b.due, 0) AS due, coalesce(b.overdue, 0) AS overdue,
    b.oldest_due_at, d.last_done_at
FROM (
    SELECT ledger, work, count(*) AS due, min(due_at) AS oldest_due_at,
        count(*) FILTER (WHERE due_at <= %(overdue_before)s) AS overdue
    FROM views.worklist_items
    WHERE ledger = ANY(%(ledgers)s) AND due_at <= %(now)s
    GROUP BY ledger, work) b
FULL JOIN (
    SELECT ledger, work, last_done_at FROM views.worklist_done
    WHERE ledger = ANY(%(ledgers)s)) d USING (ledger, work)
ORDER BY ledger, work

-- lines --
SELECT * FROM views.refund_lines
WHERE ledger = %(ledger)s
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(application_id)s::text IS NULL OR application_id = %(application_id)s)
  AND (%(after_application)s::text IS NULL OR (application_id, payment_id, component)
       > (%(after_application)s, %(after_payment)s, %(after_component)s))
ORDER BY application_id, payment_id, component
LIMIT %(limit)s

-- owed --
-- Lines with an open refund liability, the oldest payment first.
SELECT *, entitled_fen - settled_fen AS open_fen FROM views.refund_lines
WHERE ledger = %(ledger)s AND entitled_fen > settled_fen
  AND (%(paid_before)s::timestamptz IS NULL OR paid_at < %(paid_before)s)
  AND (%(after_paid)s::timestamptz IS NULL OR (paid_at, application_id, payment_id, component)
       > (%(after_paid)s, %(after_application)s, %(after_payment)s, %(after_component)s))
ORDER BY paid_at, application_id, payment_id, component
LIMIT %(limit)s

-- refund --
SELECT * FROM views.refunds WHERE ledger = %(ledger)s AND refund_no = %(refund_no)s

-- refunds --
SELECT * FROM views.refunds
WHERE ledger = %(ledger)s
  AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
  AND (%(application_id)s::text IS NULL OR application_id = %(application_id)s)
  AND (%(after)s::text IS NULL OR refund_no > %(after)s)
ORDER BY refund_no
LIMIT %(limit)s

-- steps --
SELECT * FROM views.refund_steps
WHERE ledger = %(ledger)s
  AND (%(application_id)s::text IS NULL OR application_id = %(application_id)s)
  AND (%(refund_no)s::text IS NULL OR refund_no = %(refund_no)s)
  AND (%(after)s::bigint IS NULL OR position > %(after)s)
  AND (%(at_position)s::bigint IS NULL OR position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR recorded_at <= %(at_time)s)
ORDER BY position, payment_id, component
LIMIT %(limit)s

-- payments_paid_between --
-- One row for each payment, to be matched with a provider's bill.
SELECT ledger, application_id, payment_id, provider, provider_transaction_id, merchant_order_no,
    paid_at, excess, sum(paid_fen)::bigint AS paid_fen
FROM views.refund_lines
WHERE ledger = %(ledger)s AND provider = %(provider)s
  AND paid_at >= %(since)s AND paid_at < %(until)s
GROUP BY ledger, application_id, payment_id, provider, provider_transaction_id,
    merchant_order_no, paid_at, excess
ORDER BY paid_at, payment_id

-- refunds_accepted_between --
SELECT * FROM views.refunds
WHERE ledger = %(ledger)s AND provider = %(provider)s
  AND accepted_at >= %(since)s AND accepted_at < %(until)s
ORDER BY accepted_at, refund_no

-- payments_of_orders --
SELECT ledger, application_id, payment_id, provider, provider_transaction_id, merchant_order_no,
    paid_at, excess, sum(paid_fen)::bigint AS paid_fen
FROM views.refund_lines
WHERE ledger = %(ledger)s AND provider = %(provider)s AND merchant_order_no = ANY(%(orders)s)
GROUP BY ledger, application_id, payment_id, provider, provider_transaction_id,
    merchant_order_no, paid_at, excess
ORDER BY paid_at, payment_id

-- refunds_of_numbers --
SELECT * FROM views.refunds WHERE ledger = %(ledger)s AND refund_no = ANY(%(numbers)s)
ORDER BY refund_no

-- postings --
SELECT * FROM views.postings
WHERE ledger = %(ledger)s
  AND (%(account)s::text IS NULL OR account = %(account)s)
  AND (%(application_id)s::text IS NULL OR application_id = %(application_id)s)
  AND (%(after_entry)s::bigint IS NULL
       OR (entry_no, line) > (%(after_entry)s, %(after_line)s::integer))
  AND (%(effective_from)s::timestamptz IS NULL OR effective_at >= %(effective_from)s)
  AND (%(effective_before)s::timestamptz IS NULL OR effective_at < %(effective_before)s)
  AND (%(recorded_from)s::timestamptz IS NULL OR recorded_at >= %(recorded_from)s)
  AND (%(recorded_before)s::timestamptz IS NULL OR recorded_at < %(recorded_before)s)
  AND (%(at_position)s::bigint IS NULL OR position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR recorded_at <= %(at_time)s)
ORDER BY entry_no, line
LIMIT %(limit)s

-- trial_balance --
SELECT account, sum(debit_fen)::bigint AS debit_fen, sum(credit_fen)::bigint AS credit_fen,
    sum(debit_fen - credit_fen)::bigint AS balance_fen
FROM views.postings
WHERE ledger = %(ledger)s
  AND (%(effective_from)s::timestamptz IS NULL OR effective_at >= %(effective_from)s)
  AND (%(effective_before)s::timestamptz IS NULL OR effective_at < %(effective_before)s)
  AND (%(recorded_from)s::timestamptz IS NULL OR recorded_at >= %(recorded_from)s)
  AND (%(recorded_before)s::timestamptz IS NULL OR recorded_at < %(recorded_before)s)
  AND (%(at_position)s::bigint IS NULL OR position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR recorded_at <= %(at_time)s)
GROUP BY account
ORDER BY account

-- vouchers --
SELECT min(entry_no) AS first_entry, max(entry_no) AS last_entry,
    count(DISTINCT entry_no) AS entries
FROM views.postings
WHERE ledger = %(ledger)s
  AND (%(recorded_from)s::timestamptz IS NULL OR recorded_at >= %(recorded_from)s)
  AND (%(recorded_before)s::timestamptz IS NULL OR recorded_at < %(recorded_before)s)
  AND (%(at_position)s::bigint IS NULL OR position <= %(at_position)s)
  AND (%(at_time)s::timestamptz IS NULL OR recorded_at <= %(at_time)s)

-- summary --
SELECT state, component, count(*) AS lines, sum(paid_fen)::bigint AS paid_fen,
    sum(entitled_fen)::bigint AS entitled_fen, sum(ordered_fen)::bigint AS ordered_fen,
    sum(settled_fen)::bigint AS settled_fen
FROM views.refund_lines
WHERE ledger = %(ledger)s
GROUP BY state, component
ORDER BY state, component

-- invariants --
-- Both sides of each row must be equal.
WITH l AS (
    SELECT coalesce(sum(paid_fen), 0) AS paid, coalesce(sum(entitled_fen), 0) AS entitled,
        coalesce(sum(accepted_fen), 0) AS accepted, coalesce(sum(settled_fen), 0) AS settled,
        count(*) FILTER (WHERE NOT (settled_fen <= accepted_fen AND accepted_fen <= approved_fen
            AND approved_fen <= ordered_fen AND ordered_fen <= entitled_fen
            AND entitled_fen <= paid_fen AND settled_fen >= 0)) AS disordered
    FROM views.refund_lines WHERE ledger = %(ledger)s),
a AS (
    SELECT account, sum(debit_fen) AS debit, sum(credit_fen) AS credit,
        sum(debit_fen - credit_fen) AS net
    FROM views.postings WHERE ledger = %(ledger)s GROUP BY account),
p AS (
    SELECT coalesce(sum(debit_fen), 0) AS debit, coalesce(sum(credit_fen), 0) AS credit,
        coalesce(max(entry_no), 0) AS last_entry, count(DISTINCT entry_no) AS entries
    FROM views.postings WHERE ledger = %(ledger)s)
SELECT 'debits equal credits' AS name, p.debit::bigint AS left_fen, p.credit::bigint AS right_fen
FROM p
UNION ALL SELECT 'vouchers have no gap', p.last_entry, p.entries FROM p
UNION ALL SELECT 'amounts of every line are in order', disordered, 0 FROM l
UNION ALL SELECT 'refund payable is what is entitled and not settled',
    -coalesce((SELECT sum(net) FROM a WHERE account = '2241.01'), 0)::bigint,
    (entitled - settled)::bigint FROM l
UNION ALL SELECT 'transit is what is accepted and not settled',
    coalesce((SELECT sum(net) FROM a WHERE account ~ '^1012\.[0-9]+\.3$'), 0)::bigint,
    (accepted - settled)::bigint FROM l
UNION ALL SELECT 'captured is advance, contract, earned, payable and refunded',
    paid::bigint,
    (settled - coalesce((SELECT sum(net) FROM a
        WHERE account ~ '^(2203|2205|2221|2241\.01|6001)'), 0))::bigint FROM l

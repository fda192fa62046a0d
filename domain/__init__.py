"""The facts of a certification and the decisions that make them.

A candidate's journey is a list of facts; `events.py` is that list, and everything else here either
decides the next fact or folds those there are. All of it is pure, but for the use cases, which are
`ledger.py` and the files named beside it, and `store/` (the journal on PostgreSQL).

Reading order:

events.py          MAIN ROOM: every fact, in the order of the journey; personal.py marks a field
decision.py        what a decision takes and gives: Command, World, Context, Decision
commands.py        table of contents: every command and its decision; looking.py what each looks at
book.py            opening a ledger, its fees
enrolment.py       step 1: persons and applications; eligibility.py assesses by rule_sets.py and
                   predicates.py what qualifications.py states, in the words of wording.py
payment.py         step 2: the fee and the use of what it pays for
review.py          step 3: documents and three reviews; documents.py, document_problems.py
refund.py          what goes back, and the way of one refund
exam.py            step 4: sessions, seats, scores
publication.py     step 5: public notice, objections
numbering.py       step 5: numbers of certificates; numbers.py their form
certificate.py     step 5: certificates handed out, corrected, revoked
reporting.py       step 5: the report upward
candidacy.py       the state of one application, folded; states.py every other state
snapshots.py       a state kept beside a long stream
ledger.py          use cases: load, decide, append; deciding.py, held.py, keeping.py, receipt.py,
                   answers.py
replacing.py       a frozen record with some fields changed
values.py          Fen, Marks, Level, Instant; names.py, identity.py, provinces.py, working_days.py
errors.py          the root of every refusal
store/             the one door to PostgreSQL

Glossary, Chinese to fact:

评价机构备案 LedgerOpened; 报考费用标准 FeeScheduleSet
登记 PersonRegistered; 更正 PersonCorrected; 删除 PersonalDataErased
报考 ApplicationOpened; 资质评估 EligibilityConfirmed, EligibilityRefused; 撤回 ApplicationWithdrawn
缴费 FeePaid; 多付 ExcessPaymentReceived; 使用 FeeItemUsed
报名资料 DocumentSubmitted; 资料提交 DocumentsSubmitted
初审 InitialReviewPassed, InitialReviewReturned, InitialReviewRejected
复审 SecondReviewPassed, SecondReviewReturned, SecondReviewRejected
终审 FinalReviewPassed (报考成功), FinalReviewReturned, FinalReviewRejected
应退 RefundEntitled; 不予退款 RefundRefused; 退款申请 RefundOrdered
退款批准 RefundApproved; 驳回 RefundDeclined; 渠道受理 RefundAccepted
到账 RefundSettled; 退款关闭 RefundClosed; 退款异常 RefundAbnormal
考试场次 ExamSessionScheduled; 座位 SeatAssigned; 准考证 AdmissionTicketIssued
考试结束 ExamSessionHeld; 理论成绩 TheoryScoreRecorded; 技能成绩 PracticalScoreRecorded
成绩更正 ScoreCorrected; 成绩复核 ScoresVerified
公示 PublicNoticeOpened, PublicNoticeExtended, PublicNoticeClosed; 公示结果 ResultPublished
异议 ObjectionFiled, ObjectionDismissed, ObjectionUpheld
序列号 SerialTaken; 证书编号 CertificateNumbered; 发证 CertificateIssued
上报 ReportFrozen, CertificateReported, CertificateAccepted, CertificateRejected
可查询 CertificateVisible; 证书更正 CertificateCorrected; 补发 CertificateReissued
暂停 CertificateSuspended; 恢复 CertificateReinstated; 撤销 CertificateRevoked

`docs/glossary.md` tells each word at length.
"""

"""The facts of a certification and the decisions that produce them.

A candidate's journey is a list of facts; `events.py` is that list, and everything else here either
decides the next fact or folds the recorded ones. All of it is pure except `service/` (the use
cases), `audit/` and `store/` (the journal on PostgreSQL). Each package imports only those listed
above it.

Reading order:

errors.py          base class of every refusal
values/            primitives.py (Fen, Marks, Level, Instant), person_names.py, logins.py,
                   identity_documents.py, certificate_numbers.py, certificate_cards.py,
                   certificate_links.py, provinces.py, countries.py, working_days.py,
                   sealed_fields.py (which fields are sealed), key_ids.py, opaque_ids.py (ids
                   that tell nothing), payee_accounts.py (masked), fast_replace.py (copies a
                   frozen state)
documents/         step 3, application documents: materials.py (rules), document_rules.py (rules as
                   data), kinds.py, errors.py
eligibility/       step 1: assessment.py by rule_sets.py and predicates.py over qualifications.py,
                   worded by explanations.py
editions/          rules that change without a release: edition.py (an edition), contents.py (what
                   each kind holds) over fees.py, retention.py, posting.py and refund_rules.py,
                   packaged.py (the first ones), edition_file.py (the file of one)
actors.py          who acts: Role, Actor
events.py          MAIN MODULE: every fact, in the order of the journey
claims.py          which claims a fact takes and releases
person_claims.py   which blind indexes a person has
states/            application.py (one application), editions.py (which edition holds), folds.py
                   (every other state, `evolve`)
decision.py        what a decision takes and returns: Command, States, Context, Decision
command_spec.py    what a step declares of a command: CommandSpec, ReadSet
steps/             commands, decisions, read sets and roles of each step
  ledger_setup.py       opening a ledger, or that of the service
  service_keys.py       keys of the service: introduced, retired
  log_recovery.py       the log goes on under another origin
  edition_adoption.py   two persons adopt an edition of rules; copies of it
  agency_rights.py      whose applications and persons an agency works on
  enrolment.py          step 1: persons and applications
  contested_registration.py  step 1: a document that is another person's so far
  payment.py            step 2: the fee and the use of what it pays for
  review.py             step 3: documents and three reviews
  refund.py             what is refundable, and the states of one refund
  exam.py               step 4: sessions, seats, scores
  retention_findings.py what has to be kept of a person's data, and until when
  erasure.py            two persons erase: data keys are destroyed
  public_notice.py      step 5: public notice, objections
  number_allocation.py  step 5: certificate numbers
  certificate.py        step 5: issue, correct, suspend, revoke
  authority_report.py   step 5: the report to the authority
commands.py        table of contents: the specs of all commands
lawfulness/        whether recorded facts could have been decided: judge.py, `lawful` in
                   verdict.py, inverses.py (facts to command), history.py
stored_facts.py    the one catalogue by which all of them read events of every version
service/           ledger.py (load, decide, append), command_execution.py (one command),
                   command_ids.py (random), logins.py (pseudonyms), named_actors.py (who staff are),
                   state_cache.py, snapshots.py, files.py (seals files before they are stored),
                   receipt.py, receipt_futures.py, key_check.py, person_index.py (computes
                   the table of blind indexes again),
                   public_cards.py (what a certificate says, made again),
                   guards.py (stops the commands of a ledger), recovery.py (accepts a loss),
                   tail_check.py (compares the last commands and logins)
audit/             full.py (all that a ledger stores against its events): commands_check.py,
                   claims_check.py, person_claims_check.py, bucket_keys_check.py, persons_check.py,
                   logins_check.py, snapshots_check.py, attachments_check.py, lawfulness_check.py
                   over results.py
store/             the only access to PostgreSQL; it has a map of its own

Glossary, Chinese to fact:

评价机构备案 LedgerOpened; 发证地址 IssuerUrlSet
启用密钥 KeyIntroduced; 停用密钥 KeyRetired
日志续立 LogContinuedElsewhere; 规则版本拟定 EditionProposed; 规则版本启用 EditionAdopted
服务账本开立 ServiceOpened; 规则版本复制 EditionCopied
工作人员署名 ActorNamed
登记 PersonRegistered; 登记存疑 RegistrationContested; 确认为已登记人员 PersonRecognised
并入 RegistrationJoined; 账号关联 LoginAssigned; 登记驳回 RegistrationRejected; 更正 PersonCorrected
删除拟定 ErasureProposed; 删除确认 ErasureConfirmed; 续删 ErasureContinued
恢复后重新删除 ErasureRepeated
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
异议 ObjectorNamed, ObjectionFiled, ObjectionDismissed, ObjectionUpheld
序列号 SerialTaken; 证书编号 CertificateNumbered; 发证 CertificateIssued
上报 ReportFrozen, CertificateReported, CertificateAccepted, CertificateRejected
可查询 CertificateVisible; 证书更正 CertificateCorrected; 补发 CertificateReissued
暂停 CertificateSuspended; 恢复 CertificateReinstated; 撤销 CertificateRevoked

`docs/glossary.md` explains each term.
"""

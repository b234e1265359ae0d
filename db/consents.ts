import { sql, type Transaction } from 'kysely';
import { canonicalBytes, type JsonValue } from '../domain/canonical.ts';
import { DomainError } from '../domain/errors.ts';
import { sha256Hex } from '../domain/leaf.ts';
import { SAMPLE_LIFE } from '../domain/sample-state.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { lockSubject } from './consent-lock.ts';
import { changeSample, lockSamples, type SampleRecord } from './custody.ts';
import { resolveReference } from './references.ts';
import { putOnHold } from './sample-keeping.ts';
import { type SampleView, samplesOfWithdrawal } from './samples.ts';
import type { DB } from './schema.ts';
import { inTenant, read } from './tenancy.ts';

/** Whose consent: every sample of a subject, or one sample; each with everything taken from it. */
export type ConsentScope =
  | { readonly kind: 'subject'; readonly subject: string }
  | { readonly kind: 'sample'; readonly reference: string };

/**
 * Withdraws a consent: every sample of it, down to the last aliquot, is on hold from this transaction on, and nothing of
 * the subject is entered any more. What is left to do is to destroy them, one by one (`disposeSample`).
 * @returns the withdrawal's id
 * @throws DomainError CONFLICT when it was withdrawn before, NOT_FOUND when the subject has no samples, BARCODE_UNKNOWN
 */
export async function withdrawConsent(
  db: Database,
  context: ChangeContext,
  scope: ConsentScope,
  also: (tx: Transaction<DB>, id: string) => Promise<void> = async () => {},
): Promise<string> {
  const { tenantId, userId } = context.actor;
  const sampleId =
    scope.kind === 'sample' ? await resolveReference(db, tenantId, 'sample', scope.reference) : null;
  const subject = scope.kind === 'subject' ? scope.subject : null;
  return withChange(db, context, async (change) => {
    const { tx, recordedAt } = change;
    if (subject !== null) await lockSubject(tx, tenantId, subject);
    const members = await lockFamily(tx, tenantId, subject, sampleId);
    if (members.length === 0) {
      throw new DomainError(
        'NOT_FOUND',
        'No sample of this subject is known here: look at how the reference is written.',
      );
    }
    const { rows } = await sql<{ id: string }>`
      INSERT INTO consent_withdrawal (tenant_id, subject, sample_id, comment, withdrawn_at, withdrawn_by)
      VALUES (${tenantId}, ${subject}, ${sampleId}, ${context.comment ?? null}, ${recordedAt}, ${userId})
      ON CONFLICT DO NOTHING RETURNING id`.execute(tx);
    const id = rows[0]?.id;
    if (id === undefined) throw await withdrawnBefore(tx, tenantId, subject, sampleId);
    await sql`INSERT INTO consent_withdrawal_sample (tenant_id, withdrawal_id, sample_id)
      SELECT ${tenantId}, ${id}, unnest(${members.map((member) => member.id)}::uuid[])`.execute(tx);
    for (const member of members) await holdForConsent(change, tenantId, member);
    change.record({
      aggregate: 'consent_withdrawal',
      aggregateId: id,
      version: 1,
      type: 'storage.consent.withdrawn',
      from: null,
      to: 'withdrawn',
      before: null,
      after: { subject, sample_id: sampleId, samples: members.length },
      erasable: ['subject'],
      data: { withdrawal_id: id, sample_ids: members.map((member) => member.id) },
    });
    await also(tx, id);
    return id;
  });
}

/** Held for good: also what was held for another reason, and what is lost, should it turn up. */
async function holdForConsent(change: Change, tenantId: string, sample: SampleRecord): Promise<void> {
  const { state } = sample.life;
  if (state === 'on_hold' || state === 'lost') {
    await changeSample(
      change,
      tenantId,
      sample,
      'storage.sample.held',
      sql`hold_reason = 'consent_withdrawn'`,
      null,
      { hold_reason: 'consent_withdrawn' },
    );
  } else if (SAMPLE_LIFE[state].hold !== undefined) {
    await putOnHold(change, tenantId, sample, 'consent_withdrawn');
  }
}

const FAMILY = (tenantId: string, subject: string | null, sampleId: string | null) => sql`
  WITH RECURSIVE family AS (
    SELECT id FROM sample WHERE tenant_id = ${tenantId} AND (subject = ${subject} OR id = ${sampleId}::uuid)
    UNION
    SELECT s.id FROM family f JOIN sample s ON s.tenant_id = ${tenantId} AND s.parent_id = f.id)
  SELECT id FROM family`;

/** Every sample of the scope, held; an aliquot taken while this waited is found by looking again. */
async function lockFamily(
  tx: Transaction<DB>,
  tenantId: string,
  subject: string | null,
  sampleId: string | null,
): Promise<readonly SampleRecord[]> {
  for (let held: readonly SampleRecord[] = []; ; ) {
    const { rows } = await sql<{ id: string }>`${FAMILY(tenantId, subject, sampleId)}`.execute(tx);
    if (rows.length === held.length) return held;
    held = await lockSamples(
      tx,
      tenantId,
      rows.map((row) => row.id),
    );
  }
}

async function withdrawnBefore(
  tx: Transaction<DB>,
  tenantId: string,
  subject: string | null,
  sampleId: string | null,
): Promise<DomainError> {
  const { rows } = await sql<{
    id: string;
    withdrawn_at: Date;
  }>`SELECT id, withdrawn_at FROM consent_withdrawal
    WHERE tenant_id = ${tenantId} AND (subject = ${subject} OR sample_id = ${sampleId}::uuid)`.execute(tx);
  const before = rows[0];
  return new DomainError(
    'CONFLICT',
    `This consent was withdrawn on ${before?.withdrawn_at.toISOString().slice(0, 10)}: look at withdrawal ${before?.id}.`,
    { facts: { withdrawalId: before?.id } },
  );
}

/** A withdrawn consent as it stands. */
export interface WithdrawalRecord {
  readonly id: string;
  readonly subject: string | null;
  readonly sampleId: string | null;
  readonly comment: string | null;
  readonly withdrawnAt: Date;
  readonly withdrawnBy: string;
  readonly certificate: { readonly at: Date; readonly sha256: string; readonly bytes: Buffer } | null;
  readonly version: number;
  readonly samples: readonly SampleView[];
}

interface WithdrawalRow {
  id: string;
  subject: string | null;
  sample_id: string | null;
  comment: string | null;
  withdrawn_at: Date;
  withdrawn_by: string;
  certificate: Buffer | null;
  certificate_sha256: Buffer | null;
  certified_at: Date | null;
  version: number;
}

/** Nothing of it is left: destroyed, or used up, of which nothing remains but the plastic. */
export function isGone(sample: SampleView): boolean {
  return (
    sample.custody.kind === 'disposed' ||
    sample.life.standing === 'consumed' ||
    (sample.life.standing === 'archived' && sample.life.quantity?.amount === '0')
  );
}

/** A withdrawn consent with all its samples. @throws DomainError NOT_FOUND */
export function findWithdrawal(db: Database, tenantId: string, id: string): Promise<WithdrawalRecord> {
  return inTenant(db, tenantId, (tx) => withdrawalById(tx, tenantId, id));
}

/** As `findWithdrawal`, in a transaction that has changed it. @throws DomainError NOT_FOUND */
export async function withdrawalById(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
): Promise<WithdrawalRecord> {
  const { rows } = await sql<WithdrawalRow>`
    SELECT * FROM consent_withdrawal WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx);
  const row = rows[0];
  if (!row) throw new DomainError('NOT_FOUND', `There is no withdrawn consent ${id}.`);
  const samples = await samplesOfWithdrawal(tx, tenantId, id);
  return {
    id: row.id,
    subject: row.subject,
    sampleId: row.sample_id,
    comment: row.comment,
    withdrawnAt: row.withdrawn_at,
    withdrawnBy: row.withdrawn_by,
    certificate:
      row.certificate && row.certificate_sha256 && row.certified_at
        ? { at: row.certified_at, sha256: row.certificate_sha256.toString('hex'), bytes: row.certificate }
        : null,
    version: row.version,
    samples,
  };
}

/** The newest withdrawals. @param after the last of the page before */
export function listWithdrawals(
  db: Database,
  tenantId: string,
  after: string | null,
  limit: number,
): Promise<readonly { id: string; withdrawnAt: Date; isCertified: boolean }[]> {
  return read(
    db,
    tenantId,
    sql<{ id: string; withdrawnAt: Date; isCertified: boolean }>`
      SELECT id, withdrawn_at AS "withdrawnAt", certified_at IS NOT NULL AS "isCertified" FROM consent_withdrawal
      WHERE tenant_id = ${tenantId} AND (${after}::uuid IS NULL OR id < ${after}::uuid)
      ORDER BY id DESC LIMIT ${limit}`.compile(db.kysely),
  );
}

/**
 * Certifies that nothing is left of what a consent was withdrawn for: each sample with its end and the ledger's entry of
 * it, once. Holds no barcode and no subject, so that it can be kept. Its SHA-256 is in the ledger.
 * @throws DomainError CONFLICT naming what is left, NOT_FOUND
 */
export function certifyDestruction(
  db: Database,
  context: ChangeContext,
  id: string,
  also: (tx: Transaction<DB>, after: WithdrawalRecord) => Promise<void> = async () => {},
): Promise<WithdrawalRecord> {
  const { tenantId, userId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx, recordedAt } = change;
    await sql`SELECT id FROM consent_withdrawal WHERE tenant_id = ${tenantId} AND id = ${id} FOR UPDATE`.execute(
      tx,
    );
    const before = await withdrawalById(tx, tenantId, id);
    if (before.certificate) {
      await also(tx, before);
      return before;
    }
    const left = before.samples.filter((sample) => !isGone(sample));
    if (left[0]) {
      throw new DomainError(
        'CONFLICT',
        `${left.length} of ${before.samples.length} samples are not destroyed yet, the first is ${left[0].id}, which is ${left[0].life.state.replace('_', ' ')}.`,
        { facts: { left: left.map((sample) => sample.id) } },
      );
    }
    const bytes = canonicalBytes({
      format: 'tracseq-destruction-certificate/v1',
      laboratory: tenantId,
      withdrawal_id: id,
      withdrawn_at: before.withdrawnAt.toISOString(),
      withdrawn_by: before.withdrawnBy,
      issued_at: recordedAt.toISOString(),
      issued_by: userId,
      samples: await endsOf(tx, tenantId, id),
    });
    const sha256 = sha256Hex(bytes);
    await sql`UPDATE consent_withdrawal SET certificate = ${bytes}, certificate_sha256 = ${Buffer.from(sha256, 'hex')},
        certified_at = ${recordedAt}, version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx);
    change.record({
      aggregate: 'consent_withdrawal',
      aggregateId: id,
      version: before.version + 1,
      type: 'storage.consent.certified',
      from: 'withdrawn',
      to: 'certified',
      before: null,
      after: { certificate_sha256: sha256, samples: before.samples.length },
      data: { withdrawal_id: id, certificate_sha256: sha256 },
    });
    const after = await withdrawalById(tx, tenantId, id);
    await also(tx, after);
    return after;
  });
}

/** How each sample ended, with the last entry of the ledger about it. */
async function endsOf(tx: Transaction<DB>, tenantId: string, id: string): Promise<JsonValue[]> {
  const { rows } = await sql<{
    id: string;
    type: string;
    state: string;
    reason: string | null;
    disposed_at: Date | null;
    disposed_by: string | null;
    second_person_id: string | null;
    seq: number;
    event_id: string;
    leaf_hash: string;
  }>`
    SELECT s.id, s.type, s.state, d.reason, d.disposed_at, d.disposed_by, d.second_person_id,
           e.seq, e.event_id, encode(e.leaf_hash, 'hex') AS leaf_hash
    FROM consent_withdrawal_sample m
    JOIN sample s ON s.tenant_id = m.tenant_id AND s.id = m.sample_id
    LEFT JOIN disposal d ON d.tenant_id = s.tenant_id AND d.sample_id = s.id
    JOIN record_version v ON v.tenant_id = s.tenant_id AND v.aggregate = 'sample' AND v.aggregate_id = s.id
      AND v.version = s.version
    JOIN ledger.entry e ON e.tenant_id = v.tenant_id AND e.event_id = v.event_id
    WHERE m.tenant_id = ${tenantId} AND m.withdrawal_id = ${id} ORDER BY s.id`.execute(tx);
  return rows.map((row) => ({
    sample_id: row.id,
    type: row.type,
    state: row.state,
    ...(row.reason !== null && { reason: row.reason }),
    ...(row.disposed_at && { disposed_at: row.disposed_at.toISOString() }),
    ...(row.disposed_by !== null && { disposed_by: row.disposed_by }),
    ...(row.second_person_id !== null && { second_person: row.second_person_id }),
    entry: row.seq,
    event_id: row.event_id,
    leaf_sha256: row.leaf_hash,
  }));
}

import { sql } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { convert, type Quantity } from '../domain/quantity.ts';
import type { DisposalReason, HoldReason } from '../domain/sample-state.ts';
import type { Change, ChangeContext } from './change.ts';
import { requireScan } from './check-out.ts';
import type { Database } from './connection.ts';
import { requireConsent } from './consent-lock.ts';
import { changeSample, claimBarcode, type SampleRecord } from './custody.ts';
import { releaseHeldPlace } from './held-place.ts';
import { type AlsoWriteSample, actOnSample, moveByPerson } from './sample-life.ts';
import { requireSecondPerson } from './second-person.ts';

/** What a person may change of a sample's description; null takes it away. */
export interface SampleEdit {
  readonly project: string | null;
  readonly subject: string | null;
  readonly lot: string | null;
  readonly expiresOn: string | null;
  /** what is left by a new measurement; null = nobody measured it */
  readonly quantity: Quantity | null;
}

/**
 * Changes a sample's description.
 * @param version as the person saw it (If-Match)
 * @throws DomainError PRECONDITION_FAILED, VALIDATION, CONSENT_WITHDRAWN, SAMPLE_STATE, SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN
 */
export function editSample(
  db: Database,
  context: ChangeContext,
  reference: string,
  version: number,
  edit: SampleEdit,
): Promise<string> {
  const { tenantId } = context.actor;
  return actOnSample(db, context, reference, 'edit', async (change, sample) => {
    if (sample.version !== version) {
      throw new DomainError(
        'PRECONDITION_FAILED',
        `Sample ${sample.id} has changed since version ${version} was read: read it again, it is version ${sample.version} now.`,
        { facts: { version: sample.version } },
      );
    }
    const { subject } = edit;
    if (subject !== sample.life.subject) {
      if (sample.life.holdReason === 'consent_withdrawn') {
        throw new DomainError(
          'CONSENT_WITHDRAWN',
          `The consent for sample ${sample.id} was withdrawn: whose it is stays as it is.`,
        );
      }
      if (subject !== null) await requireConsent(change.tx, tenantId, subject);
    }
    const quantity = edit.quantity && {
      ...edit.quantity,
      amount: convert(edit.quantity, edit.quantity.unit),
    };
    const isSame =
      quantity?.unit === sample.life.quantity?.unit && quantity?.amount === sample.life.quantity?.amount;
    await changeSample(
      change,
      tenantId,
      sample,
      'storage.sample.edited',
      sql`project = ${edit.project}, subject = ${subject}, lot = ${edit.lot}, expires_on = ${edit.expiresOn}::date
        ${
          isSame
            ? sql``
            : sql`, quantity = ${quantity?.amount ?? null}::numeric, quantity_unit = ${quantity?.unit ?? null},
              initial_quantity = CASE WHEN quantity_unit = ${quantity?.unit ?? null}
                THEN greatest(initial_quantity, ${quantity?.amount ?? null}::numeric)
                ELSE ${quantity?.amount ?? null}::numeric END`
        }`,
    );
  });
}

/**
 * Gives a tube another label. The old one stays reserved in the laboratory and still finds the sample.
 * @throws DomainError BARCODE_TAKEN, SAMPLE_STATE, SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN
 */
export function relabelSample(
  db: Database,
  context: ChangeContext,
  reference: string,
  barcode: string,
  also?: AlsoWriteSample,
): Promise<string> {
  const { tenantId } = context.actor;
  return actOnSample(
    db,
    context,
    reference,
    'relabel',
    async (change, sample) => {
      const { tx } = change;
      await claimBarcode(tx, tenantId, barcode, sample.id);
      await sql`UPDATE barcode SET retired_at = ${change.recordedAt}
        WHERE tenant_id = ${tenantId} AND code = ${sample.barcode}`.execute(tx);
      await changeSample(change, tenantId, sample, 'storage.sample.relabelled', sql`barcode = ${barcode}`);
    },
    also,
  );
}

/** Keeps a sample from being used. @throws DomainError SAMPLE_STATE, SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN */
export function holdSample(
  db: Database,
  context: ChangeContext,
  reference: string,
  reason: HoldReason,
  also?: AlsoWriteSample,
): Promise<string> {
  return actOnSample(
    db,
    context,
    reference,
    'hold',
    (change, sample) => putOnHold(change, context.actor.tenantId, sample, reason),
    also,
  );
}

/** As `holdSample`, in a change that holds the sample's row. */
export function putOnHold(
  change: Change,
  tenantId: string,
  sample: SampleRecord,
  reason: HoldReason,
): Promise<SampleRecord> {
  return changeSample(
    change,
    tenantId,
    sample,
    'storage.sample.held',
    sql`standing = CASE standing WHEN 'lost' THEN 'lost' ELSE 'on_hold' END, hold_reason = ${reason}`,
    null,
    { hold_reason: reason },
  );
}

/**
 * Lets a held sample be used again.
 * @throws DomainError CONSENT_WITHDRAWN: then it is only destroyed; SAMPLE_STATE, SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN
 */
export function releaseSample(
  db: Database,
  context: ChangeContext,
  reference: string,
  also?: AlsoWriteSample,
): Promise<string> {
  return actOnSample(
    db,
    context,
    reference,
    'release',
    (change, sample) => {
      if (sample.life.holdReason === 'consent_withdrawn') {
        throw new DomainError(
          'CONSENT_WITHDRAWN',
          `The consent for sample ${sample.id} was withdrawn: it is destroyed, not released.`,
        );
      }
      return changeSample(
        change,
        context.actor.tenantId,
        sample,
        'storage.sample.released',
        sql`standing = 'active', hold_reason = NULL`,
      );
    },
    also,
  );
}

/** How a tube is destroyed. */
export interface DisposalRequest {
  readonly reason: DisposalReason;
  /** `other` needs one */
  readonly comment: string | null;
  readonly secondPersonId: string | null;
  /** the tube's barcode as read; null = the word of both */
  readonly scanned: string | null;
}

/**
 * Destroys a tube, before the eyes of a second person; its position becomes free.
 * @throws DomainError SECOND_PERSON_REQUIRED, VALIDATION when `other` has no comment, CONSENT_WITHDRAWN when another reason
 *   is named, BARCODE_MISMATCH, SAMPLE_STATE, SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN
 */
export function disposeSample(
  db: Database,
  context: ChangeContext,
  reference: string,
  request: DisposalRequest,
  also?: AlsoWriteSample,
): Promise<string> {
  const { tenantId, userId } = context.actor;
  const { reason, comment } = request;
  return actOnSample(
    db,
    context,
    reference,
    'dispose',
    async (change, sample) => {
      const { tx, recordedAt } = change;
      requireScan(sample.barcode, request.scanned);
      if (reason === 'other' && comment === null) {
        const detail = 'The reason "other" needs a comment that says why.';
        throw new DomainError('VALIDATION', detail, { errors: [{ pointer: '/comment', detail }] });
      }
      if (sample.life.holdReason === 'consent_withdrawn' && reason !== 'consent_withdrawn') {
        throw new DomainError(
          'CONSENT_WITHDRAWN',
          `The consent for sample ${sample.id} was withdrawn: the reason of its disposal is consent_withdrawn.`,
        );
      }
      const second = await requireSecondPerson(
        tx,
        tenantId,
        userId,
        request.secondPersonId,
        'sample.dispose',
        'A tube is destroyed before the eyes of a second person: name them.',
      );
      if (sample.life.isCheckedOut) await releaseHeldPlace(change, tenantId, sample.id);
      await sql`INSERT INTO disposal (tenant_id, sample_id, reason, comment, disposed_by, second_person_id, disposed_at)
        VALUES (${tenantId}, ${sample.id}, ${reason}, ${comment}, ${userId}, ${second}, ${recordedAt})`.execute(
        tx,
      );
      await moveByPerson(change, tenantId, sample, {
        to: { kind: 'disposed' },
        witness: 'two_persons',
        type: 'storage.sample.disposed',
        leaves: 'free',
        standing: 'active',
        data: { disposal_reason: reason, second_person_id: second },
      });
    },
    also,
  );
}

/** Closes a sample's record, or opens it again: nothing is deleted. @throws DomainError SAMPLE_STATE, SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN */
export function archiveSample(
  db: Database,
  context: ChangeContext,
  reference: string,
  action: 'archive' | 'reopen',
  also?: AlsoWriteSample,
): Promise<string> {
  const { tenantId } = context.actor;
  return actOnSample(
    db,
    context,
    reference,
    action,
    (change, sample) =>
      action === 'archive'
        ? changeSample(
            change,
            tenantId,
            sample,
            'storage.sample.archived',
            sql`standing = 'archived', is_checked_out = false`,
          )
        : reopen(change, tenantId, sample),
    also,
  );
}

function reopen(change: Change, tenantId: string, sample: SampleRecord): Promise<SampleRecord> {
  const isHeld = sample.life.holdReason !== null && sample.custody.kind !== 'disposed';
  return changeSample(
    change,
    tenantId,
    sample,
    'storage.sample.reopened',
    sql`standing = ${isHeld ? 'on_hold' : sample.life.quantity?.amount === '0' ? 'consumed' : 'active'}`,
  );
}

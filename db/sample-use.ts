import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { DomainError } from '../domain/errors.ts';
import { convert, isNothing, type Quantity, subtract } from '../domain/quantity.ts';
import { requireAction } from '../domain/sample-state.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { changeSample, recordRegistered, registerSample, type SampleRecord } from './custody.ts';
import { releaseHeldPlace } from './held-place.ts';
import { resolveReference } from './references.ts';
import { type AlsoWriteSample, actOnSample, sampleFor } from './sample-life.ts';

/** A tube that was filled from another. */
export interface NewAliquot {
  readonly barcode: string;
  /** what was put into it; null = nobody measured */
  readonly quantity: Quantity | null;
}

/**
 * Registers tubes that were filled from a sample. They are of its type, project, temperature and subject, and with the
 * person who has it; what was measured is taken from what it has left.
 * @returns the ids of the aliquots, in their order
 * @throws DomainError QUANTITY_EXCEEDED, BARCODE_TAKEN, VALIDATION, SAMPLE_STATE, SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN
 */
export async function takeAliquots(
  db: Database,
  context: ChangeContext,
  reference: string,
  aliquots: readonly NewAliquot[],
  also: (tx: Change['tx'], ids: readonly string[]) => Promise<void> = async () => {},
): Promise<readonly string[]> {
  const { tenantId, userId } = context.actor;
  const parentId = await resolveReference(db, tenantId, 'sample', reference);
  return withChange(db, context, async (change) => {
    const parent = await sampleFor(change.tx, tenantId, parentId, 'use');
    const { subject, lot, expiresOn } = parent.life;
    let left: SampleRecord['life']['quantity'] = parent.life.quantity;
    const ids: string[] = [];
    for (const { barcode, quantity } of aliquots) {
      if (quantity && left) left = { ...left, amount: remaining(parent, left.amount, quantity) };
      const id = uuidv7();
      const filled = quantity && { ...quantity, amount: convert(quantity, quantity.unit) };
      recordRegistered(
        change,
        await registerSample(change, {
          tenantId,
          id,
          barcode,
          type: parent.type,
          project: parent.project,
          zone: parent.zone,
          holderId: parent.custody.kind === 'person' ? parent.custody.userId : userId,
          jobId: null,
          parent: { id: parent.id, generation: parent.life.generation },
          life: { subject, lot, expiresOn, quantity: filled },
        }),
      );
      ids.push(id);
    }
    await changeSample(
      change,
      tenantId,
      parent,
      'storage.sample.aliquoted',
      sql`use_count = use_count + 1, quantity = ${left?.amount ?? null}::numeric`,
      null,
      { aliquot_ids: ids },
    );
    await also(change.tx, ids);
    return ids;
  });
}

function remaining(sample: SampleRecord, amount: string, used: Quantity): string {
  const unit = sample.life.quantity?.unit ?? used.unit;
  const left = subtract(amount, convert(used, unit));
  if (left !== null) return left;
  throw new DomainError(
    'QUANTITY_EXCEEDED',
    `Of sample ${sample.id} ${amount} ${unit} are left, less than the ${used.amount} ${used.unit} that were to be taken.`,
    { facts: { left: amount, unit } },
  );
}

/**
 * Takes an amount of a sample, or what is left of it; where nothing is left it is consumed and its check-out is over.
 * @param used null = all of it
 * @throws DomainError QUANTITY_EXCEEDED, CONFLICT when nobody measured how much there is, VALIDATION, SAMPLE_STATE,
 *   SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN
 */
export function consumeSample(
  db: Database,
  context: ChangeContext,
  reference: string,
  used: Quantity | null,
  also?: AlsoWriteSample,
): Promise<string> {
  const { tenantId } = context.actor;
  return actOnSample(
    db,
    context,
    reference,
    'use',
    async (change, sample) => {
      const { quantity } = sample.life;
      if (used && !quantity) {
        throw new DomainError(
          'CONFLICT',
          `Nobody has measured how much there is of sample ${sample.id}: enter its quantity first.`,
        );
      }
      const left = used && quantity ? remaining(sample, quantity.amount, used) : quantity && '0';
      const isUsedUp = used === null || (left !== null && isNothing(left));
      if (isUsedUp) requireAction(sample.id, sample.life.state, 'use_up');
      if (isUsedUp && sample.life.isCheckedOut) await releaseHeldPlace(change, tenantId, sample.id);
      await changeSample(
        change,
        tenantId,
        sample,
        'storage.sample.consumed',
        sql`use_count = use_count + 1, quantity = ${left}::numeric
          ${isUsedUp ? sql`, standing = 'consumed', is_checked_out = false` : sql``}`,
        null,
        { used: used?.amount ?? null, unit: used?.unit ?? null },
      );
    },
    also,
  );
}

/**
 * Counts a thaw that a person saw, of a tube that is outside its cold; its return does not count it again.
 * @throws DomainError CONFLICT when it is in its cold or was counted, SAMPLE_STATE, SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN
 */
export function recordThaw(
  db: Database,
  context: ChangeContext,
  reference: string,
  also?: AlsoWriteSample,
): Promise<string> {
  const { tenantId } = context.actor;
  return actOnSample(
    db,
    context,
    reference,
    'use',
    (change, sample) => {
      if (sample.life.thawRecorded) {
        throw new DomainError(
          'CONFLICT',
          `The thaw of sample ${sample.id} is counted: it has not been frozen since.`,
        );
      }
      return changeSample(
        change,
        tenantId,
        sample,
        'storage.sample.thawed',
        sql`freeze_thaw_count = freeze_thaw_count + 1, thaw_recorded = true,
          warm_since = coalesce(warm_since, ${change.recordedAt})`,
      );
    },
    also,
  );
}

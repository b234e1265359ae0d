import { type RawBuilder, sql } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { type QuantityUnit, shortest } from '../domain/quantity.ts';
import type { HoldReason, SampleState, Standing } from '../domain/sample-state.ts';

/** What a sample's record says of its life. */
export interface SampleLife {
  readonly state: SampleState;
  readonly standing: Standing;
  readonly holdReason: HoldReason | null;
  readonly isCheckedOut: boolean;
  readonly enteredStorageAt: Date | null;
  readonly parentId: string | null;
  /** 0: collected; an aliquot is one more than its parent */
  readonly generation: number;
  /** the donor's reference, never a name */
  readonly subject: string | null;
  /** null: nobody measured it */
  readonly quantity: {
    readonly amount: string;
    readonly initial: string;
    readonly unit: QuantityUnit;
  } | null;
  readonly lot: string | null;
  /** YYYY-MM-DD, the last day on which it may be used */
  readonly expiresOn: string | null;
  readonly useCount: number;
  /** a person counted the thaw of the exposure that is running */
  readonly thawRecorded: boolean;
}

export interface LifeRow {
  state: SampleState;
  standing: Standing;
  hold_reason: HoldReason | null;
  is_checked_out: boolean;
  entered_storage_at: Date | null;
  parent_id: string | null;
  generation: number;
  subject: string | null;
  quantity: string | null;
  initial_quantity: string | null;
  quantity_unit: QuantityUnit | null;
  lot: string | null;
  expires_on: string | null;
  use_count: number;
  thaw_recorded: boolean;
}

const NAMES = [
  'state',
  'standing',
  'hold_reason',
  'is_checked_out',
  'entered_storage_at',
  'parent_id',
  'generation',
  'subject',
  'quantity',
  'initial_quantity',
  'quantity_unit',
  'lot',
  'use_count',
  'thaw_recorded',
] as const;

/** The columns that `lifeOf` reads. @param alias of the table `sample` */
export function lifeColumns(alias = 'sample'): RawBuilder<unknown> {
  return sql.raw(
    `${NAMES.map((name) => `${alias}.${name}`).join(', ')}, ${alias}.expires_on::text AS expires_on`,
  );
}

export function lifeOf(row: LifeRow): SampleLife {
  return {
    state: row.state,
    standing: row.standing,
    holdReason: row.hold_reason,
    isCheckedOut: row.is_checked_out,
    enteredStorageAt: row.entered_storage_at,
    parentId: row.parent_id,
    generation: row.generation,
    subject: row.subject,
    quantity:
      row.quantity === null || row.initial_quantity === null || row.quantity_unit === null
        ? null
        : {
            amount: shortest(row.quantity),
            initial: shortest(row.initial_quantity),
            unit: row.quantity_unit,
          },
    lot: row.lot,
    expiresOn: row.expires_on,
    useCount: row.use_count,
    thawRecorded: row.thaw_recorded,
  };
}

/** What the ledger keeps of it: what is as it was at registration is left out. */
export function lifeContent(life: SampleLife): Record<string, JsonValue> {
  const { standing, holdReason, isCheckedOut, parentId, subject, quantity, lot, expiresOn } = life;
  return {
    ...(standing !== 'active' && { standing }),
    ...(holdReason !== null && { hold_reason: holdReason }),
    ...(isCheckedOut && { is_checked_out: true }),
    ...(parentId !== null && { parent_id: parentId }),
    ...(subject !== null && { subject }),
    ...(quantity && {
      quantity: quantity.amount,
      initial_quantity: quantity.initial,
      quantity_unit: quantity.unit,
    }),
    ...(lot !== null && { lot }),
    ...(expiresOn !== null && { expires_on: expiresOn }),
    ...(life.useCount > 0 && { use_count: life.useCount }),
    ...(life.thawRecorded && { thaw_recorded: true }),
  };
}

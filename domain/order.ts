import type { Quantity } from './quantity.ts';
import type { Zone } from './zone.ts';

/** Where a tube shall go. */
export type Target =
  /** the system chooses, anywhere or below one location */
  | { readonly kind: 'chosen'; readonly withinId: string | null }
  | { readonly kind: 'named'; readonly positionId: string };

/** A sample that a placement registers in its first step. */
export interface NewSample {
  readonly barcode: string;
  readonly type: string;
  readonly project: string | null;
  readonly zone: Zone;
  /** what rules of places may ask; left out = none */
  readonly class?: string | null;
  readonly hazard?: string | null;
  readonly owner?: string | null;
  readonly quarantine?: boolean;
  /** left out: nothing is known of it */
  readonly life?: NewSampleLife;
}

/** What else may be known of a new sample. */
export interface NewSampleLife {
  /** the donor's reference, never a name */
  readonly subject: string | null;
  readonly lot: string | null;
  /** YYYY-MM-DD, the last day on which it may be used */
  readonly expiresOn: string | null;
  readonly quantity: Quantity | null;
}

/** What a job was asked to do: stored in `job.input.order`, read by its first step. */
export type Order =
  | {
      readonly kind: 'placement';
      readonly newSample: NewSample | null;
      readonly target: Target;
      /** by robot: the hand-off position the tube stands or will stand in; null = the system chooses */
      readonly handoffPositionId: string | null;
    }
  | { readonly kind: 'retrieval'; readonly handoffPositionId: string | null }
  | { readonly kind: 'move'; readonly target: Target };

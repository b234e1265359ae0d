import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Actor } from '../../domain/actor.ts';
import type { Confirmation } from '../../domain/confirmation.ts';
import type { RobotLevel } from '../../domain/controller.ts';
import type { Refusal } from '../../domain/errors.ts';
import type { FaultAnswer } from '../../domain/fault.ts';
import type { FinalJobState, JobState, Phase } from '../../domain/job.ts';
import type { Waits } from '../../domain/waits.ts';

export type { Confirmation };

/** What every process of the store is started with. Ids only: names and barcodes stay in Postgres. */
export interface JobInput {
  readonly jobId: string;
  readonly actor: Actor;
  readonly sampleId: string;
  readonly mode: 'hand' | 'robot';
  /** higher goes first */
  readonly priority: number;
  /** the laboratory's own waiting times, where they differ from the presets */
  readonly limits?: JobLimits;
}

/** Waiting times that differ from the presets. */
export type JobLimits = Partial<Waits>;

/** Where in the store: a position as people and other services see it. */
export interface PlaceRef {
  readonly positionId: string;
  readonly containerId: string;
  /** canonical label, e.g. `C5` */
  readonly label: string;
}

/** The early answer of a process. */
export type Reservation =
  | {
      readonly outcome: 'accepted';
      /** target of a placement or move, source of a retrieval */
      readonly place: PlaceRef;
      /** where the tube stands now; null when it is with a person */
      readonly source: PlaceRef | null;
      /** the robot's hand-off position, for work by robot */
      readonly handoff: PlaceRef | null;
      readonly robotId: string | null;
      /** at which level that robot takes orders; `motion` where there is none */
      readonly robotLevel: RobotLevel;
      readonly leaseExpiresAt: string | null;
      /** the laboratory's own waiting times, where they differ from the presets */
      readonly waits?: Partial<Waits>;
      /** how long the tube may wait in the hand-off, in ms, by its temperature class; of a retrieval by robot */
      readonly pickupMs?: number;
    }
  | { readonly outcome: 'refused'; readonly refusal: Refusal };

/** A person's scan that takes a tube from the hand-off. */
export interface HandOver {
  readonly actor: Actor;
  readonly sampleBarcode: string;
}

/** The operator's answer to the question of one fault. */
export interface Decision {
  readonly actor: Actor;
  readonly faultId: string;
  /** where the tube physically is; `retry_undo` only answers a stuck compensation */
  readonly answer: FaultAnswer;
  /** with `at_source` and `in_carrier`: whether the robot goes on with the job, or the job ends and the tube goes back */
  readonly next: 'go_on' | 'release';
  /** with `elsewhere`: the position the tube was found in, looked up from its barcode and label */
  readonly positionId: string | null;
  /** the person reached in, or will not have to be: the robot's hardware lock-out was used where that was needed */
  readonly lockedOut: boolean;
  /** the tube's barcode, scanned where it was found; not for `not_found` and `retry_undo` */
  readonly sampleBarcode: string | null;
  /** may the robot go on working */
  readonly robotFit: boolean;
  readonly comment: string | null;
}

export type Answer =
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'refused'; readonly refusal: Refusal };

/** Early answer; returns as soon as the position is reserved or refused. */
export const reservedUpdate = defineUpdate<Reservation>('reserved');
export const confirmUpdate = defineUpdate<Answer, [Confirmation]>('confirm');
export const handOverUpdate = defineUpdate<Answer, [HandOver]>('handOver');
export const decideUpdate = defineUpdate<Answer, [Decision]>('decide');
/** Sets the intent; honoured at the next safe point. */
export const cancelUpdate = defineUpdate<Answer, [{ actor: Actor; reason: string | null }]>('cancel');

/** Another service says how urgent the sample is now. */
export interface Expedite {
  readonly actor: Actor;
  /** names the event at its sender: the same one again counts once */
  readonly eventId: string;
  /** higher goes first, 0–100 */
  readonly priority: number;
}
export const expediteSignal = defineSignal<[Expedite]>('expedite');

export interface JobView {
  readonly state: JobState;
  readonly phase: Phase;
  readonly cancelRequested: boolean;
}
/** For people looking at the Temporal Web UI; the API reads the job row. */
export const jobViewQuery = defineQuery<JobView>('job');

/** What a process ends with. */
export interface JobOutcome {
  readonly state: FinalJobState;
  readonly detail: string;
}

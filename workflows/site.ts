import type { Mark, SeenAt } from '../activities/contract.ts';
import type { RobotLevel } from '../domain/controller.ts';
import type { FaultAnswer } from '../domain/fault.ts';
import type { Phase } from '../domain/job.ts';
import type { PlaceRef } from './messages/job.ts';

/** A place a robot reaches. */
export interface Site {
  readonly kind: 'position' | 'handoff';
  readonly place: PlaceRef;
}

/** One tube's way from site to site by one robot. */
export interface Route {
  readonly robotId: string;
  readonly level: RobotLevel;
  readonly from: Site;
  readonly to: Site;
  /** what the job waits for once the tube stands at `to` */
  readonly arrived: Mark;
  /** the tube goes back to where it belongs: a wish to cancel does not stop it */
  readonly isReturn?: boolean;
}

/**
 * Which end of a route the operator means: the source and the target that a person is asked about are those of the job, and
 * a tube that is brought back goes from the job's target to its source.
 */
export function endMeant({ isReturn }: Route, answer: FaultAnswer): 'from' | 'to' | null {
  if (answer === 'at_source') return isReturn ? 'to' : 'from';
  if (answer === 'at_target') return isReturn ? 'from' : 'to';
  return null;
}

export const running = (phase: Phase): Mark => ({ state: 'RUNNING', phase, waitingFor: null });
export const compensating = (phase: Phase): Mark => ({ state: 'COMPENSATING', phase, waitingFor: null });

export const seenAt = ({ kind, place }: Site): Extract<SeenAt, { readonly positionId: string }> => ({
  kind,
  positionId: place.positionId,
});

/** A site as people read it. */
export const labelOf = ({ kind, place }: Site): string =>
  kind === 'handoff' ? `hand-off ${place.label}` : place.label;

/** How a transfer ended well. `isDeviation`: a person had to say so. */
export interface Arrival {
  readonly at: 'target' | 'person' | 'handoff';
  readonly isDeviation: boolean;
}

/** The transfer ends by the operator's word: a person has the tube, or it was to be fetched back and stays in the hand-off. */
export class EndedByPerson extends Error {
  readonly at: 'person' | 'handoff';

  constructor(at: EndedByPerson['at']) {
    super(`the operator says that the tube is at: ${at}`);
    this.at = at;
  }
}

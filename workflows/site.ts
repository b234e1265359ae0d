import type { Mark, SeenAt } from '../activities/contract.ts';
import type { RobotLevel } from '../domain/controller.ts';
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

export const running = (phase: Phase): Mark => ({ state: 'RUNNING', phase, waitingFor: null });
export const compensating = (phase: Phase): Mark => ({ state: 'COMPENSATING', phase, waitingFor: null });

export const seenAt = ({ kind, place }: Site): Extract<SeenAt, { readonly positionId: string }> => ({
  kind,
  positionId: place.positionId,
});

/** A site as people read it. */
export const labelOf = ({ kind, place }: Site): string =>
  kind === 'handoff' ? `hand-off ${place.label}` : place.label;

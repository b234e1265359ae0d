import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Actor } from '../../domain/actor.ts';
import type { PauseWhen } from '../../domain/robot-order.ts';
import type { RobotState, TurnKey, TurnRequest } from '../../domain/turns.ts';
import type { Answer } from './job.ts';

export const ROBOT = 'robot';

/** Start and continue-as-new input of the entity. `state` null: it begins with what the database knows. */
export interface RobotInput {
  readonly tenantId: string;
  readonly robotId: string;
  readonly state: RobotState | null;
  /** events after which it continues as new, where not the preset: for tests */
  readonly maxHistory?: number;
}

export type { RobotState, TurnRequest } from '../../domain/turns.ts';

/** Ask for the turn; a repeat for the same job and turn changes nothing, or the priority if its revision is newer. */
export const requestTurnSignal = defineSignal<[TurnRequest]>('request');
/** Give the turn back, or withdraw from the queue; a repeat changes nothing. `turn` null: every turn of the job. */
export const releaseTurnSignal = defineSignal<[TurnKey]>('release');
/** The robot is frozen until the fault is resolved: no turn is granted. */
export const faultSignal = defineSignal<[{ faultId: string; cleared: boolean }]>('faultSeen');
/** A robot behind the same gate has ended a turn: whoever waits for the gate asks again. */
export const gateFreeSignal = defineSignal<[Readonly<Record<string, never>>]>('gateFree');
/** A turn that a process asked for is its own, under this fence. */
interface TurnGranted {
  readonly turn: number;
  readonly fence: number;
  /** whose turn it is: the robot that was asked, or the one to which the request was handed over */
  readonly robotId: string;
}

/** Sent by the entity's grant to the process whose turn it is. */
export const turnGrantedSignal = defineSignal<[TurnGranted]>('turnGranted');

/** The fault that held the robot of a job with the turn was released by a person: the job looks again. A repeat is harmless. */
export const robotReleasedSignal = defineSignal<[{ faultId: string }]>('robotReleased');

interface By {
  readonly actor: Actor;
  /** in the person's own words */
  readonly reason: string | null;
}
/** `when` left out: at the safe point. */
export const pauseUpdate = defineUpdate<Answer, [By & { readonly when?: PauseWhen }]>('pause');
export const resumeUpdate = defineUpdate<Answer, [By]>('resume');
export const maintenanceUpdate = defineUpdate<Answer, [By]>('maintenance');
/** A person declares the robot fit after a fault about which nobody is asked any more. */
export const clearUpdate = defineUpdate<Answer, [By & { readonly faultId: string }]>('clear');
export const robotViewQuery = defineQuery<RobotState>('robot');

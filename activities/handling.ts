import { ApplicationFailure } from '@temporalio/common';
import {
  classifyLabel,
  classifyPick,
  classifyPlace,
  classifyScan,
  classifyTransfer,
} from '../domain/motion.ts';
import type {
  HandlingActivities,
  Mark,
  MotionActivities,
  MotionOrder,
  MotionOutcome,
  SeenAt,
  StepRef,
  StorageActivities,
} from './contract.ts';

type Steps = Pick<MotionActivities, 'submitMotion' | 'awaitMotion'> & Pick<StorageActivities, 'moveCustody'>;

/** A robot tries so often to read a label before it gives up. */
const SCANS = 3;

/**
 * A tube's way into a robot's carrier and out of it: orders motions and records what the sensors saw, each a step of its
 * own, in one activity, since a hop to the workflow between two motions takes longer than either's bookkeeping. A repeat
 * finds the steps that were done and goes on behind them.
 */
export function createHandlingActivities({
  submitMotion,
  awaitMotion,
  moveCustody,
}: Steps): HandlingActivities {
  async function perform(ref: StepRef, order: MotionOrder): Promise<MotionOutcome> {
    const { commandId } = await submitMotion(ref, order);
    return awaitMotion(ref, commandId);
  }

  /** Custody to where the sensors saw the tube. @returns why the record refuses it, or null */
  async function record(...step: Parameters<Steps['moveCustody']>): Promise<string | null> {
    try {
      await moveCustody(...step);
      return null;
    } catch (error) {
      const refused = finalReason(error);
      if (refused === null) throw error;
      return refused;
    }
  }

  async function readLabel(
    ref: StepRef,
    order: Omit<MotionOrder, 'operation' | 'next'>,
  ): Promise<MotionOutcome> {
    for (let n = 1; ; n += 1) {
      const read = await perform(
        { ...ref, step: `${ref.step}/scan/${n}` },
        { ...order, operation: 'scan', next: { state: 'RUNNING', phase: 'VERIFYING', waitingFor: null } },
      );
      if (n === SCANS || classifyScan(read) !== 'unread') return read;
    }
  }

  return {
    async fetchTube(ref, order) {
      const { robotId } = order;
      const picked = await perform(
        { ...ref, step: `${ref.step}/pick` },
        { ...order, operation: 'pick', next: { state: 'RUNNING', phase: 'PICKING', waitingFor: null } },
      );
      if (classifyPick(picked) !== 'picked') return { picked, refused: null, read: null };
      const carrier: SeenAt = { kind: 'carrier', robotId };
      const held = { state: 'RUNNING', phase: 'IN_CARRIER', waitingFor: null } as const;
      const refused = await record({ ...ref, step: `${ref.step}/carrier` }, carrier, held);
      if (refused !== null) return { picked, refused, read: null };
      return { picked, refused, read: await readLabel(ref, order) };
    },

    readLabel,

    async deliverTube(ref, { robotId, fence, attempt, to, arrived }) {
      const { positionId } = to;
      const placed = await perform(
        { ...ref, step: `${ref.step}/place` },
        {
          operation: 'place',
          robotId,
          fence,
          positionId,
          attempt,
          next: { state: 'RUNNING', phase: 'PLACING', waitingFor: null },
        },
      );
      if (classifyPlace(placed) !== 'placed') return { placed, refused: null };
      return { placed, refused: await record({ ...ref, step: `${ref.step}/target` }, to, arrived) };
    },

    async relocateTube(ref, { robotId, fence, attempt, from, to, arrived }) {
      const next: Mark = { state: 'RUNNING', phase: 'TRANSFERRING', waitingFor: null };
      const moved = await perform(
        { ...ref, step: `${ref.step}/transfer` },
        {
          operation: 'transfer',
          robotId,
          fence,
          positionId: from.positionId,
          toPositionId: to.positionId,
          attempt,
          next,
        },
      );
      const label = classifyLabel(moved);
      if (classifyTransfer(moved) !== 'placed' || label === 'mismatch') return { moved, refused: null };
      const step = { ...ref, step: `${ref.step}/target` };
      return { moved, refused: await record(step, to, label === 'matches' ? arrived : next) };
    },
  };
}

/** Why a step failed, when the same again would fail the same way; null for what may be repeated. */
function finalReason(error: unknown): string | null {
  if (!(error instanceof ApplicationFailure) || error.nonRetryable !== true) return null;
  const told: unknown = error.details?.[0];
  return typeof told === 'object' && told !== null && 'detail' in told ? String(told.detail) : error.message;
}

import { WorkflowNotFoundError } from '@temporalio/client';
import { expect } from 'vitest';
import { confirmUpdate } from '../../../workflows/messages/job.ts';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';
import type { RobotFault } from '../laboratory.ts';
import { type Branches, cancelledDuring, decides, ends, failing, heldAt } from './branch.ts';

const byHand: JobSetup = { kind: 'placement', mode: 'hand' };
const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };

/** Starts a placement by robot with the tube in the hand-off, and a robot that does this wrong. */
async function withFaults(floor: Floor, ...faults: RobotFault[]): Promise<RunningJob> {
  const robot = floor.lab.addRobot();
  robot.faults.push(...faults);
  return floor.start({ ...byRobot, robot });
}

function rejectedAsOver(reason: unknown): 'refused' {
  expect(reason).toBeInstanceOf(WorkflowNotFoundError);
  return 'refused';
}

const droppedAtPick: RobotFault = { on: 'pick', how: 'dropped' };
const notPicked: RobotFault = { on: 'pick', how: 'nothing_moved' };
const notPlaced: RobotFault = { on: 'place', how: 'nothing_moved' };

export const placementByHand: Branches = {
  'placement-by-hand--scanned': async (floor) => {
    const running = await floor.start(byHand);
    expect(running.reservation).toMatchObject({ outcome: 'accepted', leaseExpiresAt: expect.any(String) });
    await expect(floor.confirm(running)).resolves.toEqual({ outcome: 'accepted' });
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--scanned-with-the-order': async (floor) => {
    const running = await floor.start({ ...byHand, isScanned: true });
    expect(running.reservation.outcome).toBe('accepted');
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--wrong-scan-with-the-order': async (floor) => {
    const running = await floor.start({ ...byHand, isScanned: { sampleBarcode: 'OTHER' } });
    expect(running.reservation).toMatchObject({ outcome: 'refused', refusal: { code: 'BARCODE_MISMATCH' } });
    return ends(running, 'REFUSED');
  },
  'placement-by-hand--position-taken': async (floor) => {
    const target = floor.lab.addPosition();
    floor.lab.addSample(target);
    const running = await floor.start({ ...byHand, target });
    expect(running.reservation).toMatchObject({ outcome: 'refused', refusal: { code: 'POSITION_OCCUPIED' } });
    return ends(running, 'REFUSED');
  },
  'placement-by-hand--wrong-scans-then-the-right-one': async (floor) => {
    const running = await floor.start(byHand);
    const wrong = await floor.confirm(running, { sampleBarcode: 'OTHER' });
    expect(wrong).toMatchObject({ outcome: 'refused', refusal: { code: 'BARCODE_MISMATCH' } });
    const unread = await floor.confirm(running, { sampleBarcode: null });
    expect(unread).toMatchObject({ outcome: 'refused', refusal: { code: 'SECOND_PERSON_REQUIRED' } });
    const elsewhere = await floor.confirm(running, { position: 'Z9' });
    expect(elsewhere).toMatchObject({ outcome: 'refused', refusal: { code: 'CONFLICT' } });
    await floor.confirm(running, { sampleBarcode: null, secondPersonId: 'somebody else' });
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--scanned-twice-at-once': async (floor) => {
    const running = await floor.start(byHand);
    const answers = await Promise.allSettled([floor.confirm(running), floor.confirm(running)]);
    const said = answers.map((answer) =>
      // A scan that comes when the process is over is refused by the server.
      answer.status === 'fulfilled' ? answer.value.outcome : rejectedAsOver(answer.reason),
    );
    expect(said.sort()).toEqual(['accepted', 'refused']);
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--scanned-before-the-reservation': async (floor) => {
    let early: Promise<unknown> | undefined;
    const setup: JobSetup = {
      ...byHand,
      prepare: (job) => {
        floor.hooks.set(job.id, {
          before: ({ name }) => {
            if (name !== 'reservePlacement' || early !== undefined) return;
            const scan = { ...floor.lab.goodScan({ ...job, place: targetOf(floor, job.target) }) };
            early = floor.client.workflow
              .getHandle(job.workflowId)
              .executeUpdate(confirmUpdate, { args: [scan] });
          },
        });
      },
    };
    const running = await floor.start(setup);
    await expect(early).resolves.toEqual({ outcome: 'accepted' });
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--cancelled': async (floor) => {
    const running = await floor.start(byHand);
    await expect(floor.cancel(running)).resolves.toEqual({ outcome: 'accepted' });
    const ended = await ends(running, 'CANCELLED', /reservations were released/);
    expect(running.job.isCancelRequested).toBe(true);
    return ended;
  },
  'placement-by-hand--cancelled-in-temporal': async (floor) => {
    const running = await floor.start(byHand);
    await running.handle.cancel();
    const ended = await ends(running, 'CANCELLED');
    expect(running.job.isCancelRequested).toBe(true);
    return ended;
  },
  'placement-by-hand--lease-ran-out': async (floor) => {
    const running = await floor.start(byHand);
    expect(running.reservation.outcome).toBe('accepted');
    const shortLease = await withLease(floor, 300, () => floor.start(byHand));
    await floor.cancel(running);
    return ends(shortLease, 'FAILED', /reservation ran out/);
  },
  'placement-by-hand--reservation-fails-for-good': async (floor) => {
    const running = await floor.start(failing(floor, byHand, 'reservePlacement', 'NOT_FOUND'));
    expect(running.reservation).toMatchObject({ outcome: 'refused', refusal: { code: 'NOT_FOUND' } });
    return ends(running, 'FAILED', /no reservation to release/);
  },
  'placement-by-hand--database-away-for-a-while': async (floor) => {
    const running = await floor.start(failing(floor, byHand, 'reservePlacement', 'DATABASE_UNAVAILABLE', 2));
    await floor.confirm(running);
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--step-repeated-differently': async (floor) => {
    const running = await floor.start(
      failing(floor, byHand, 'confirmPlaced', 'STEP_REPEATED_DIFFERENTLY', 1),
    );
    await expect(floor.confirm(running)).resolves.toMatchObject({
      refusal: { code: 'STEP_REPEATED_DIFFERENTLY' },
    });
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED');
  },
  'placement-by-hand--release-fails-until-a-person-helps': async (floor) => {
    const setup = failing(floor, byHand, 'releaseReservations', 'FORBIDDEN', 2);
    const running = await floor.start(setup);
    await floor.cancel(running);
    await decides(floor, running, 'retry_undo');
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await decides(floor, running, 'retry_undo');
    return ends(running, 'CANCELLED');
  },
  'placement-by-hand--release-keeps-failing-until-a-person-is-asked': async (floor) => {
    const setup = failing(
      floor,
      { ...byHand, limits: { undoMs: 500 } },
      'releaseReservations',
      'DATABASE_UNAVAILABLE',
      3,
    );
    const running = await floor.start(setup);
    await floor.cancel(running);
    await decides(floor, running, 'retry_undo');
    return ends(running, 'CANCELLED');
  },
};

export const placementByRobot: Branches = {
  'placement-by-robot--scanned-with-the-order': async (floor) => {
    const running = await floor.start(byRobot);
    return ends(running, 'COMPLETED');
  },
  'placement-by-robot--scanned-at-the-hand-off': async (floor) => {
    const running = await floor.start({ ...byRobot, isScanned: false });
    await floor.confirm(running);
    return ends(running, 'COMPLETED');
  },
  'placement-by-robot--wrong-scan-with-the-order': async (floor) => {
    const running = await floor.start({ ...byRobot, isScanned: { sampleBarcode: 'OTHER' } });
    expect(running.reservation).toMatchObject({ outcome: 'refused', refusal: { code: 'BARCODE_MISMATCH' } });
    return ends(running, 'REFUSED');
  },
  'placement-by-robot--cancelled-before-the-scan': async (floor) => {
    const running = await floor.start({ ...byRobot, isScanned: false });
    await floor.cancel(running);
    return ends(running, 'CANCELLED', /no turn|released/);
  },
  'placement-by-robot--cancelled-in-the-queue': async (floor) => {
    const robot = floor.lab.addRobot();
    const gate = heldAt(floor, { ...byRobot, robot }, 'awaitMotion');
    const first = await floor.start(gate.setup);
    await floor.reaches(first, 'RUNNING', 'PICKING');
    const second = await floor.start({ ...byRobot, robot });
    await floor.reaches(second, 'RUNNING', 'AWAITING_TURN');
    await floor.cancel(second);
    const ended = await ends(second, 'CANCELLED', /left the robot’s queue/);
    gate.open();
    await ends(first, 'COMPLETED');
    return ended;
  },
  'placement-by-robot--cancelled-in-the-carrier': async (floor) => {
    const running = await floor.start(cancelledDuring(floor, byRobot, 'awaitMotion', 1));
    return ends(running, 'CANCELLED', /put back into hand-off/);
  },
  'placement-by-robot--cancelled-too-late': async (floor) => {
    const running = await floor.start(cancelledDuring(floor, byRobot, 'awaitMotion', 3));
    return ends(running, 'COMPLETED');
  },
  'placement-by-robot--not-picked': async (floor) =>
    ends(
      await withFaults(floor, notPicked, notPicked, notPicked),
      'FAILED',
      /did not pick.*nothing to put back/s,
    ),
  'placement-by-robot--picked-though-it-said-failed': async (floor) =>
    ends(await withFaults(floor, { on: 'pick', how: 'moved_but_failed' }), 'COMPLETED'),
  'placement-by-robot--dropped--found-at-the-source': async (floor) => {
    const running = await withFaults(floor, droppedAtPick);
    await decides(floor, running, 'at_source');
    return ends(running, 'FAILED');
  },
  'placement-by-robot--dropped--found-in-the-carrier': async (floor) => {
    const running = await withFaults(floor, { on: 'pick', how: 'no_answer' });
    await floor.reaches(running, 'AWAITING_OPERATOR');
    const unfit = await floor.decide(running, 'in_carrier', { robotFit: false });
    expect(unfit).toMatchObject({ outcome: 'refused', refusal: { code: 'VALIDATION' } });
    await decides(floor, running, 'in_carrier');
    return ends(running, 'FAILED', /put back/);
  },
  'placement-by-robot--dropped--put-in-place-by-the-operator': async (floor) => {
    const running = await withFaults(floor, droppedAtPick);
    await decides(floor, running, 'at_target');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'placement-by-robot--dropped--with-the-operator': async (floor) => {
    const running = await withFaults(floor, droppedAtPick);
    await floor.reaches(running, 'AWAITING_OPERATOR');
    const stale = await floor.decide(running, 'with_me', { faultId: floor.lab.newId() });
    expect(stale).toMatchObject({ outcome: 'refused', refusal: { code: 'STALE_ANSWER' } });
    const other = await floor.decide(running, 'with_me', { sampleBarcode: 'OTHER' });
    expect(other).toMatchObject({ outcome: 'refused', refusal: { code: 'BARCODE_MISMATCH' } });
    await decides(floor, running, 'with_me', { robotFit: false });
    const ended = await ends(running, 'FAILED');
    expect(running.robot.heldFaults).toHaveLength(1);
    return ended;
  },
  'placement-by-robot--dropped--not-found': async (floor) => {
    const running = await withFaults(floor, droppedAtPick);
    await decides(floor, running, 'not_found');
    return ends(running, 'FAILED', /not found/);
  },
  'placement-by-robot--dropped--cancelled-while-parked': async (floor) => {
    const running = await withFaults(floor, droppedAtPick);
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await floor.cancel(running);
    expect(running.job.state).toBe('AWAITING_OPERATOR');
    await decides(floor, running, 'at_source');
    return ends(running, 'CANCELLED');
  },
  'placement-by-robot--label-read-at-the-third-try': async (floor) =>
    ends(
      await withFaults(floor, { on: 'scan', how: 'unreadable' }, { on: 'scan', how: 'unreadable' }),
      'COMPLETED',
    ),
  'placement-by-robot--label-unreadable': async (floor) => {
    const unreadable: RobotFault = { on: 'scan', how: 'unreadable' };
    return ends(await withFaults(floor, unreadable, unreadable, unreadable), 'FAILED', /label.*put back/s);
  },
  'placement-by-robot--another-tube': async (floor) => {
    const running = await withFaults(floor, { on: 'scan', how: 'foreign' });
    await decides(floor, running, 'at_source');
    return ends(running, 'FAILED', /another barcode/);
  },
  'placement-by-robot--carrier-empty-at-the-scan': async (floor) => {
    const running = await withFaults(floor, { on: 'scan', how: 'empty_carrier' });
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED');
  },
  'placement-by-robot--not-placed': async (floor) =>
    ends(await withFaults(floor, notPlaced, notPlaced), 'FAILED', /did not place.*put back/s),
  'placement-by-robot--placed-though-it-said-failed': async (floor) =>
    ends(await withFaults(floor, { on: 'place', how: 'moved_but_failed' }), 'COMPLETED'),
  'placement-by-robot--place-unanswered': async (floor) => {
    const running = await withFaults(floor, { on: 'place', how: 'no_answer' });
    await decides(floor, running, 'at_target');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'placement-by-robot--put-back-stuck': async (floor) => {
    const running = await withFaults(floor, notPlaced, notPlaced, notPlaced, notPlaced);
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    const unfit = await floor.decide(running, 'retry_undo', { robotFit: false });
    expect(unfit).toMatchObject({ outcome: 'refused', refusal: { code: 'VALIDATION' } });
    await decides(floor, running, 'retry_undo');
    return ends(running, 'FAILED', /put back/);
  },
  'placement-by-robot--put-back-unanswered': async (floor) => {
    const running = await withFaults(floor, notPlaced, notPlaced, { on: 'place', how: 'no_answer' });
    await decides(floor, running, 'at_source', { robotFit: false });
    return ends(running, 'FAILED', /nothing to put back/);
  },
  'placement-by-robot--record-refuses-what-the-sensors-saw': async (floor) => {
    const running = await floor.start(failing(floor, byRobot, 'moveCustody', 'LEASE_LOST', 1));
    await decides(floor, running, 'in_carrier');
    return ends(running, 'FAILED', /the record refused it/);
  },
  'placement-by-robot--turn-lost': async (floor) => {
    const running = await floor.start(failing(floor, byRobot, 'submitMotion', 'TURN_LOST', 1));
    return ends(running, 'FAILED', /says no/);
  },
};

function targetOf(floor: Floor, target: { readonly kind: string; readonly positionId?: string }) {
  return floor.lab.position(target.positionId ?? '').place;
}

async function withLease<T>(floor: Floor, leaseMs: number, body: () => Promise<T>): Promise<T> {
  const usual = floor.lab.leaseMs;
  floor.lab.leaseMs = leaseMs;
  try {
    return await body();
  } finally {
    floor.lab.leaseMs = usual;
  }
}

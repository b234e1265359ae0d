import { expect } from 'vitest';
import type { JobSetup } from '../floor.ts';
import { type Branches, cancelledDuring, decides, ends } from './branch.ts';

const byHand: JobSetup = { kind: 'move', mode: 'hand' };
const byRobot: JobSetup = { kind: 'move', mode: 'robot' };

export const moves: Branches = {
  'move-by-hand--scanned': async (floor) => {
    const running = await floor.start(byHand);
    await floor.confirm(running);
    return ends(running, 'COMPLETED');
  },
  'move-by-hand--cancelled': async (floor) => {
    const running = await floor.start(byHand);
    await floor.cancel(running);
    return ends(running, 'CANCELLED');
  },
  'move--sample-busy': async (floor) => {
    const running = await floor.start({
      ...byHand,
      prepare: (job) => {
        floor.lab.sample(job.sampleId).jobId = 'another job';
      },
    });
    expect(running.reservation).toMatchObject({ outcome: 'refused', refusal: { code: 'SAMPLE_BUSY' } });
    return ends(running, 'REFUSED');
  },
  'move-by-robot--moved': async (floor) => ends(await floor.start(byRobot), 'COMPLETED'),
  'move-by-robot--cancelled-in-the-carrier': async (floor) =>
    ends(await floor.start(cancelledDuring(floor, byRobot, 'awaitMotion', 1)), 'CANCELLED', /put back/),
  'move-by-robot--put-in-place-by-the-operator': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'dropped' });
    const running = await floor.start({ ...byRobot, robot });
    await decides(floor, running, 'at_target');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'move-by-robot--with-the-operator': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'pick', how: 'dropped' });
    const running = await floor.start({ ...byRobot, robot });
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED');
  },
};

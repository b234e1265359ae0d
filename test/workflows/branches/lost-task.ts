import { expect } from 'vitest';
import { expediteSignal } from '../../../workflows/messages/job.ts';
import { turnGrantedSignal } from '../../../workflows/messages/robot.ts';
import type { Addressee, Floor, JobSetup } from '../floor.ts';
import { type Branches, ends, heldAt } from './branch.ts';
import { takenOver } from './reconcile.ts';

const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };

/** Lets something reach the server while this activity of the job runs for the first time. */
function meanwhile(
  floor: Floor,
  { job }: Pick<Addressee, 'job'>,
  activity: string,
  act: () => Promise<void>,
) {
  let isDone = false;
  floor.hooks.set(job.id, {
    before: async ({ name }) => {
      if (name !== activity || isDone) return;
      isDone = true;
      await act();
    },
  });
}

const expedite = ({ handle, job }: Addressee) =>
  handle.signal(expediteSignal, { actor: job.actor, eventId: 'event-1', priority: 90 });

/** The operator's answer, which the server may give to nobody: its workflow task is lost, what the steps wrote is not. */
async function answers(floor: Floor, running: Addressee, answer: Parameters<Floor['decide']>[1]) {
  await floor.reaches(running, 'AWAITING_OPERATOR');
  floor.decide(running, answer).catch(() => {});
}

/** The server refuses to close a workflow that something came for meanwhile: the last task runs again, without its update. */
export const lostTasks: Branches = {
  'placement-by-robot--the-answer-lost-to-a-cancel-in-temporal': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'no_answer' });
    const running = await floor.start({ ...byRobot, robot });
    meanwhile(floor, running, 'applyDecision', () => running.handle.cancel().then(() => {}));
    await answers(floor, running, 'at_target');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'placement-by-robot--the-answer-lost-to-an-expedite': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'dropped' });
    const running = await floor.start({ ...byRobot, robot });
    meanwhile(floor, running, 'applyDecision', () => expedite(running));
    await answers(floor, running, 'not_found');
    return ends(running, 'FAILED');
  },
  'placement-by-robot--the-answer-lost-to-a-grant-told-again': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'no_answer' });
    const running = await floor.start({ ...byRobot, robot });
    meanwhile(floor, running, 'applyDecision', () =>
      running.handle.signal(turnGrantedSignal, { turn: 1, fence: robot.fence, robotId: robot.id }),
    );
    await answers(floor, running, 'at_target');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'placement-by-robot--the-answer-lost-while-it-is-undone': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'nothing_moved' }, { on: 'place', how: 'no_answer' });
    const running = await floor.start({ ...byRobot, robot });
    meanwhile(floor, running, 'applyDecision', () => running.handle.cancel().then(() => {}));
    await answers(floor, running, 'at_source');
    return ends(running, 'FAILED');
  },
  'retrieval-by-robot--taken-late-and-the-scan-lost': async (floor) => {
    const robot = floor.lab.addRobot();
    const running = await floor.start({
      kind: 'retrieval',
      mode: 'robot',
      robot,
      limits: { pickupMs: 1_500 },
    });
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    const gate = heldAt(floor, { ...byRobot, robot }, 'awaitMotion');
    const other = await floor.start(gate.setup);
    await floor.reaches(other, 'RUNNING', 'PICKING');
    await floor.queues(robot.id, running.job.id);
    meanwhile(floor, running, 'handOver', () => expedite(running));
    floor.handOver(running).catch(() => {});
    const ended = await ends(running, 'COMPLETED');
    gate.open();
    await ends(other, 'COMPLETED');
    return ended;
  },
  'reconcile--by-hand--the-answer-lost': async (floor) => {
    const byHand: JobSetup = { kind: 'placement', mode: 'hand' };
    const running = await takenOver(floor, byHand, (each) => floor.reaches(each, 'AWAITING_PERSON'));
    await floor.parkedBy(running.job, running.handle.workflowId);
    meanwhile(floor, running, 'applyDecision', () => running.handle.cancel().then(() => {}));
    await answers(floor, running, 'with_me');
    const ended = await ends(running, 'FAILED');
    expect(running.job.isCancelRequested).toBe(true);
    return ended;
  },
};

import { expect } from 'vitest';
import { WAITS } from '../../../domain/waits.ts';
import { workflowIds } from '../../../workflows/ids.ts';
import { resumeUpdate } from '../../../workflows/messages/robot.ts';
import { failure } from '../fakes.ts';
import type { RunningJob } from '../floor.ts';
import { ends, HOUR, MINUTE, passed, type Scene, SECOND, type Timing } from './scene.ts';

/** A tube that the robot has brought to the hand-off, and that nobody takes. */
async function atHandoff({ floor }: Scene): Promise<RunningJob> {
  const running = await floor.start({ kind: 'retrieval', mode: 'robot' });
  await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
  return running;
}

/** Waits for people: for a scan, for a tube to be taken, for an answer. */
export const people: Timing[] = [];
const timing = (shows: Timing['shows'], title: string, body: Timing['body']) =>
  people.push({ shows, title, body });

for (const [kind, mode, reserved] of [
  ['placement', 'hand', 'reservePlacement'],
  ['placement', 'robot', 'reservePlacement'],
  ['retrieval', 'hand', 'reserveRetrieval'],
  ['move', 'hand', 'reserveMove'],
] as const) {
  timing(
    ['process.ts new Deadline 1', 'leaseMs'],
    `a ${kind} by ${mode} that nobody scans gives its positions back when the lease ends`,
    async (scene) => {
      const { floor, server } = scene;
      const running = await floor.start({ kind, mode });
      await server.skip(floor.lab.leaseMs - MINUTE);
      expect(running.job.state).toBe('AWAITING_PERSON');
      await server.skip(2 * MINUTE);
      await ends(running, 'FAILED', /The reservation ran out/);
      passed(scene.times(running, reserved)[0], scene.times(running, 'releaseReservations')[0], 15 * MINUTE);
    },
  );
}

for (const [what, classMs, ms] of [
  ['10 minutes', null, 10 * MINUTE],
  ['the 3 minutes of its temperature class', 3 * MINUTE, 3 * MINUTE],
  ['10 minutes where its temperature class allows more', HOUR, 10 * MINUTE],
] as const) {
  timing(
    ['pickupMs', 'retrieval.ts new Deadline 1'],
    `a tube that nobody takes from the hand-off goes back after ${what}`,
    async (scene) => {
      const { floor, server } = scene;
      floor.lab.pickupMs = classMs;
      const running = await atHandoff(scene);
      await server.skip(ms - MINUTE);
      expect(running.job).toMatchObject({ state: 'AWAITING_PERSON', phase: 'AT_HANDOFF' });
      await server.skip(2 * MINUTE);
      await ends(running, 'FAILED', /Nobody took the tube .* put back/);
      passed(scene.times(running, 'releaseTurn')[0], scene.times(running, 'requestTurn')[1], ms);
      floor.lab.pickupMs = null;
    },
  );
}

timing(
  ['escalateMs', 'process.ts new Deadline 2'],
  'a question that nobody answers is escalated after 5, 15 and 30 minutes, and no more',
  async (scene) => {
    const { floor, server } = scene;
    const running = await scene.withFaults({ on: 'pick', how: 'dropped' });
    await server.skip(10 * HOUR);
    const [asked] = scene.times(running, 'park');
    const escalations = scene.times(running, 'escalate');
    expect(escalations).toHaveLength(WAITS.escalateMs.length);
    for (const [n, minutes] of [5, 15, 30].entries()) passed(asked, escalations[n], minutes * MINUTE);
    const steps = floor.lab.escalations.flatMap(({ jobId, step }) =>
      jobId === running.job.id ? [step] : [],
    );
    expect(steps).toEqual([1, 2, 3]);
    expect(running.job.state).toBe('AWAITING_OPERATOR');
    await floor.decide(running, 'at_target');
    await ends(running, 'COMPLETED_WITH_DEVIATION', /as the operator said/);
  },
);

timing(['escalateMs'], 'an answer ends the escalation', async (scene) => {
  const { floor, server } = scene;
  const running = await scene.withFaults({ on: 'pick', how: 'dropped' });
  await server.skip(6 * MINUTE);
  await floor.decide(running, 'at_target');
  await ends(running, 'COMPLETED_WITH_DEVIATION', /as the operator said/);
  await server.skip(HOUR);
  expect(scene.times(running, 'escalate')).toHaveLength(1);
});

timing(
  ['undoMs', 'activities.ts localRetryThreshold 1'],
  'an undo that keeps failing for 5 minutes asks a person, and goes on by the answer',
  async (scene) => {
    const { floor, server } = scene;
    const running = await floor.start({ kind: 'move', mode: 'hand' });
    let isBroken = true;
    floor.hooks.set(running.job.id, {
      before: ({ name }) => {
        if (name === 'releaseReservations' && isBroken)
          throw failure('DATABASE_UNAVAILABLE', 'the database is away');
      },
    });
    await floor.cancel(running);
    await server.skip(6 * MINUTE);
    const tries = scene.times(running, 'releaseReservations');
    expect(running.job).toMatchObject({ state: 'AWAITING_OPERATOR', phase: 'COMPENSATION_STUCK' });
    // Pauses of 0.1 s that double to 6.4 s, then 28 of 10 s.
    expect(tries).toHaveLength(36);
    passed(tries[0], scene.times(running, 'park')[0], 292 * SECOND, 15 * SECOND);
    isBroken = false;
    await floor.decide(running, 'retry_undo');
    await ends(running, 'CANCELLED', /reservations were released/);
  },
);

timing(
  ['notReadyMs', 'turn.ts new Deadline 1'],
  'a tube that goes back and waits for the robot warns after 5 minutes, and nobody gives it up',
  async (scene) => {
    const { floor, server } = scene;
    const running = await atHandoff(scene);
    running.robot.dispatch = 'paused';
    await server.skip(5 * HOUR);
    passed(scene.times(running, 'requestTurn')[1], scene.times(running, 'warnNotReady')[0], 5 * MINUTE);
    expect(scene.times(running, 'warnNotReady')).toHaveLength(1);
    expect(running.job).toMatchObject({ state: 'AWAITING_PERSON', phase: 'AT_HANDOFF' });
    const { actor } = floor.lab;
    const entity = floor.client.workflow.getHandle(workflowIds.robot(actor.tenantId, running.robot.id));
    const by = { actor, reason: 'checked' };
    await expect(entity.executeUpdate(resumeUpdate, { args: [by] })).resolves.toMatchObject({
      outcome: 'accepted',
    });
    await ends(running, 'FAILED', /put back/);
  },
);

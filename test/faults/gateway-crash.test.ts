import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GatewayDeaths, PATIENT, type Rig, WINDOWS, type Window } from '../setup/gateway-deaths.ts';
import { CELL_DRIVERS, eventually } from '../setup/robot-cell.ts';

/**
 * The crash matrix of devices reference 13.5, on the real wire, with every process killed for real. One gateway dies while
 * each of its robots stands in another window between the order and its result; then the next one comes.
 */
describe.each(CELL_DRIVERS)('a gateway of a store on %s that dies', (driver) => {
  let deaths: GatewayDeaths;
  let hits: ReadonlyMap<Window, number>;
  let accepted: Rig;
  let sent: Rig;
  let triggerLost: Rig;
  let triggerLate: Rig;
  let neverShown: Rig;
  let moving: Rig;
  let moved: Rig;

  const settled = ({ robot, commandId }: Rig) => deaths.lab.settled(robot, commandId, 60_000);
  const numbers = async ({ cell }: Rig) => (await cell.log()).map(({ number }) => number);

  beforeAll(async () => {
    deaths = await GatewayDeaths.open(driver);
    const first = await deaths.startGateway();
    [accepted, sent, triggerLost, triggerLate] = await Promise.all([
      deaths.warmRig(),
      deaths.warmRig(),
      deaths.warmRig(),
      deaths.warmRig(),
    ]);
    [neverShown, moving, moved] = await Promise.all([deaths.rig(), deaths.rig(), deaths.rig()]);
    await Promise.all([
      deaths.accepted(accepted),
      deaths.sent(sent),
      deaths.triggered(triggerLost, 'place', { kind: 'cut_at_trigger', when: 'before' }),
      deaths.triggered(neverShown, 'pick', { kind: 'cut_at_trigger', when: 'before' }),
      deaths.moving(moving),
      deaths.moved(moved),
    ]);
    await deaths.triggered(triggerLate, 'place', { kind: 'late_trigger', ms: 12_000 });
    hits = await deaths.kill(first);
    await deaths.startGateway(PATIENT);
  }, 300_000);
  afterAll(async () => {
    await deaths?.expectAtMostOnce();
    await deaths?.close();
  });

  it('is killed in every window, and between SENT and the trigger above all', () => {
    console.log(WINDOWS.map((window) => `${driver}: ${hits.get(window)} × ${window}`).join('\n'));
    for (const window of WINDOWS) expect(hits.get(window), window).toBeGreaterThan(0);
  });

  it('before SENT: the next one sends the command, once', async () => {
    const motion = await settled(accepted);
    expect(motion.state, motion.reading?.detail).toBe('DONE');
    expect(await numbers(accepted)).toEqual([1, 2]);
  });

  it('after SENT, before the trigger: the next one finds that nothing was taken', async () => {
    const motion = await settled(sent);
    expect(motion).toMatchObject({ state: 'FAILED', reading: { carrier: true, target: false } });
    expect(motion.reading?.detail).toMatch(/^the controller did not take the command/);
    expect(await numbers(sent)).toEqual([1]);
    expect((await sent.cell.world()).triggers).toEqual({ taken: 1, refused: 0 });
  });

  it('after SENT, the trigger lost on its way: the next one finds that nothing was taken', async () => {
    const motion = await settled(triggerLost);
    expect(motion).toMatchObject({ state: 'FAILED', reading: { carrier: true, target: false } });
    expect(motion.reading?.detail).toMatch(/^the controller did not take the command/);
    expect(await numbers(triggerLost)).toEqual([1]);
  });

  it('after SENT, the trigger still on its way: it comes to nothing, or to the one motion', async () => {
    const { state } = await settled(triggerLate);
    if (state === 'DONE') {
      // A slow machine: the trigger arrived before the next gateway had disarmed it. Then it is the one motion.
      expect(await numbers(triggerLate)).toEqual([1, 2]);
      return;
    }
    expect(state).toBe('FAILED');
    // The old trigger arrives now, at a controller that was disarmed.
    const { cell } = triggerLate;
    await eventually('the late trigger', async () => (await cell.world()).triggers.refused > 0, 30_000);
    expect(await numbers(triggerLate)).toEqual([1]);
    expect((await cell.world()).carrier).toMatchObject({ barcode: 'TUBE-1' });
  });

  it('after SENT on a controller that has never shown a number: nobody knows', async () => {
    expect(await settled(neverShown)).toMatchObject({ state: 'UNKNOWN' });
  });

  it('in the middle of the motion: the next one attaches', async () => {
    await moving.cell.clearFaults();
    expect(await settled(moving)).toMatchObject({ state: 'DONE', reading: { carrier: true, source: false } });
  });

  it('after the motion, before DONE: the next one reads the result', async () => {
    expect(await settled(moved)).toMatchObject({ state: 'DONE', reading: { carrier: true } });
  });
});

describe.each(CELL_DRIVERS)('a gateway of a store on %s', (driver) => {
  let deaths: GatewayDeaths;
  let rig: Rig;

  beforeAll(async () => {
    deaths = await GatewayDeaths.open(driver);
    rig = await deaths.rig();
  });
  afterAll(async () => {
    await deaths?.expectAtMostOnce();
    await deaths?.close();
  });

  it('picks, scans and places, each seen by the sensors; by SIGTERM it ends and leaves nothing running', async () => {
    const { lab } = deaths;
    const { cell, robot } = rig;
    const gateway = await deaths.startGateway(PATIENT);
    const pick = await lab.perform(robot, 'pick', 1);
    expect(pick).toMatchObject({ state: 'DONE', number: 1 });
    expect(pick.reading).toMatchObject({ carrier: true, source: false, target: null, errorCode: 0 });
    expect((await lab.perform(robot, 'scan', 1)).reading).toMatchObject({ barcode: 'TUBE-1', carrier: true });
    expect((await lab.perform(robot, 'place', 5)).reading).toMatchObject({
      carrier: false,
      source: null,
      target: true,
    });
    expect((await cell.world()).positions['1/1/5']).toMatchObject({ barcode: 'TUBE-1' });
    const state = await eventually('the projection of the robot', async () => {
      const [row] = await lab.sql<{ mode: string; connected: boolean; carrier_occupied: boolean }>(
        'SELECT mode, connected, carrier_occupied FROM robot_state WHERE robot_id = $1 AND carrier_occupied = false',
        [robot.robotId],
      );
      return row;
    });
    expect(state).toMatchObject({ mode: 'auto', connected: true });
    const { commandId } = await lab.accept(robot, 'pick', 5);
    await lab.inState(robot, commandId, 'SENT');
    expect(await gateway.end()).toBe(0);
    expect(await lab.settled(robot, commandId, 100)).toMatchObject({ state: 'DONE' });
  });

  it('with a tube in the carrier and an error: the next one homes nothing, opens nothing, resets nothing', async () => {
    const { lab } = deaths;
    const { cell, robot } = rig;
    const first = await deaths.startGateway(PATIENT);
    await cell.fault({ kind: 'motion_fault', operation: 'place', tube: 'carrier' });
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 5 },
    });
    await first.kill();
    const before = (await cell.log()).length;
    await lab.sql('UPDATE robot_state SET error_code = NULL WHERE robot_id = $1', [robot.robotId]);
    const second = await deaths.startGateway(PATIENT);
    await eventually('the next one having looked', async () => {
      const [state] = await lab.sql<{ error_code: number | null }>(
        'SELECT error_code FROM robot_state WHERE robot_id = $1',
        [robot.robotId],
      );
      return state?.error_code === 5;
    });
    expect(await cell.log()).toHaveLength(before);
    expect((await cell.world()).carrier).toMatchObject({ barcode: 'TUBE-1' });
    // The error stands until somebody wants to move; where it has to be reset then, it is logged first.
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({ state: 'DONE' });
    expect(second.output().includes('"handlerError":"00017"')).toBe(driver === 'ascii');
    const ended = new Promise((resolve) => second.child.once('exit', resolve));
    second.child.disconnect();
    expect(await ended, 'the exit code when its parent is gone').toBe(0);
  });
});

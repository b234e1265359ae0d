import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { type GatewayTiming, RobotGateway } from '../../devices/robot-gateway.ts';
import { FakeWire } from '../setup/fake-wire.ts';
import { type JournalLine, MemoryJournal } from '../setup/memory-journal.ts';
import { eventually } from '../setup/robot-cell.ts';

const QUIET = { info: () => undefined, warn: () => undefined };
const FAST: Partial<GatewayTiming> = {
  lookEveryMs: 5,
  retryMs: 1,
  pollAtMostMs: 1,
  motionDeadlineMs: 200,
  interlockHoldsMs: 50,
};

describe('the gateway of a robot', () => {
  const running: { gateway: RobotGateway; ended: Promise<string> }[] = [];
  afterEach(async () => {
    for (const { gateway } of running) gateway.abandon();
    await Promise.all(running.splice(0).map(({ ended }) => ended));
  });

  const cell = () => {
    const wire = new FakeWire();
    wire.tubes.set('1/1/1', 'A');
    const journal = new MemoryJournal();
    const serve = (timing: Partial<GatewayTiming> = {}) => {
      const gateway = new RobotGateway({ wire, journal, log: QUIET, timing: { ...FAST, ...timing } });
      const ended = gateway.run();
      running.push({ gateway, ended });
      return { gateway, ended };
    };
    return { wire, journal, serve };
  };
  const settled = (line: JournalLine) => eventually(`a result of ${line.number}`, () => line.reading, 3_000);
  const warmUp = async (journal: MemoryJournal) => settled(journal.accept('pick', 1));

  it('writes what the sensors saw of a motion', async () => {
    const { wire, journal, serve } = cell();
    const { gateway } = serve();
    const line = journal.accept('pick', 1);
    gateway.ring();
    expect(await settled(line)).toEqual({
      errorCode: 0,
      carrier: true,
      source: false,
      target: null,
      barcode: null,
      stop: null,
      detail: 'the controller reports it done',
    });
    expect(line).toMatchObject({ state: 'DONE', latchedBefore: 0 });
    expect(await settled(journal.accept('scan', 1))).toMatchObject({
      barcode: 'A',
      source: null,
      target: null,
    });
    expect(await settled(journal.accept('place', 2))).toMatchObject({
      carrier: false,
      target: true,
      source: null,
    });
    expect(wire.log).toEqual([1, 2, 3]);
  });

  it('begins no motion while a person has paused the robot now, whenever that is said; it goes on reporting', async () => {
    const { wire, journal, serve } = cell();
    const { gateway } = serve();
    await warmUp(journal);
    journal.isPaused = true;
    const line = journal.accept('scan', 1);
    gateway.ring();
    const reported = journal.reports.length;
    await eventually('two more reports', () => journal.reports.length >= reported + 2, 3_000);
    expect([line.state, wire.log]).toEqual(['ACCEPTED', [1]]);
    journal.isPaused = false;
    gateway.ring();
    await settled(line);
    // Said while the interlock was being looked at: the last word before SENT is the journal's.
    let asked = 0;
    journal.onMarkSent = () => {
      asked += 1;
      journal.isPaused = asked === 1;
    };
    const next = journal.accept('place', 2);
    gateway.ring();
    await eventually('the refusal', () => asked === 1, 3_000);
    expect([next.state, wire.log]).toEqual(['ACCEPTED', [1, 2]]);
    journal.isPaused = false;
    gateway.ring();
    expect(await settled(next)).toMatchObject({ carrier: false, target: true });
    expect(wire.log).toEqual([1, 2, 3]);
  });

  it('reports what stops the robot before it says that the motion was not sent', async () => {
    const { wire, journal, serve } = cell();
    const { gateway } = serve({ lookEveryMs: 60_000 });
    await warmUp(journal);
    const reported = journal.reports.length;
    wire.mode = 'estop';
    let reportsAtEnd = 0;
    journal.failure = (call, when) => {
      if (call === 'settle' && when === 'before') reportsAtEnd = journal.reports.length;
      return false;
    };
    const line = journal.accept('place', 2);
    gateway.ring();
    expect((await settled(line))?.detail).toContain('mode estop');
    expect(reportsAtEnd).toBe(reported + 1);
    expect(journal.reports.at(-1)).toMatchObject({ mode: 'estop' });
  });

  it('does not trigger when the job’s turn is over, or the gateway’s epoch', async () => {
    const { wire, journal, serve } = cell();
    const { ended } = serve();
    await warmUp(journal);
    journal.hasTurn = false;
    const line = journal.accept('place', 2);
    expect((await settled(line))?.detail).toBe('the command was not sent: the turn of its job is over');
    journal.epoch += 1;
    expect(await ended).toBe('epoch_lost');
    expect(wire.log).toEqual([1]);
  });

  it('does not trigger when another takes the epoch while SENT is being committed', async () => {
    const { wire, journal, serve } = cell();
    journal.onMarkSent = () => {
      journal.epoch += 1;
    };
    const { ended } = serve();
    const line = journal.accept('pick', 1);
    expect(await ended).toBe('epoch_lost');
    expect(line.state).toBe('ACCEPTED');
    expect(wire.log).toEqual([]);
  });

  it('looks at the interlock again when the journal has answered, however long that took', async () => {
    const { wire, journal, serve } = cell();
    journal.onMarkSent = () => new Promise((resolve) => setTimeout(resolve, 80));
    serve();
    await warmUp(journal);
    journal.onMarkSent = () => {
      wire.mode = 'manual';
    };
    const line = journal.accept('place', 2);
    expect((await settled(line))?.detail).toMatch(/^the command was not sent: .*manual/);
    expect(line.state).toBe('FAILED');
    expect(wire.log).toEqual([1]);
  });

  it('does not trigger on a look that took too long, or on none', async () => {
    const { wire, journal, serve } = cell();
    serve();
    await warmUp(journal);
    const observe = wire.observe.bind(wire);
    journal.onMarkSent = () => {
      wire.observe = async () => {
        wire.observe = observe;
        const view = await observe();
        await new Promise((resolve) => setTimeout(resolve, 80));
        return view;
      };
    };
    const slow = journal.accept('place', 2);
    expect((await settled(slow))?.detail).toMatch(/took too long to show its interlock/);
    journal.onMarkSent = () => {
      wire.observe = async () => {
        wire.observe = observe;
        throw new Error('no answer');
      };
    };
    const silent = journal.accept('place', 2);
    expect((await settled(silent))?.detail).toMatch(/^the command was not sent/);
    expect([slow.state, silent.state]).toEqual(['FAILED', 'FAILED']);
    expect(wire.log).toEqual([1]);
  });

  it('knows that it did not trigger when the answer to SENT was lost', async () => {
    const { wire, journal, serve } = cell();
    journal.failure = (call, when) => {
      if (call !== 'markSent' || when !== 'after') return false;
      journal.failure = () => false;
      return true;
    };
    serve();
    const line = journal.accept('pick', 1);
    expect((await settled(line))?.detail).toMatch(/^the command was not sent/);
    expect(line.state).toBe('FAILED');
    expect(wire.log).toEqual([]);
  });

  it('writes a result as soon as the database answers again', async () => {
    const { wire, journal, serve } = cell();
    let failures = 0;
    journal.failure = (call) => call === 'settle' && ++failures < 20;
    serve();
    const line = journal.accept('pick', 1);
    await settled(line);
    expect(line.state).toBe('DONE');
    expect(wire.log).toEqual([1]);
  });

  it('only looks after a trigger whose fate is open: done, or not taken in two looks', async () => {
    const { wire, journal, serve } = cell();
    serve();
    await warmUp(journal);
    wire.nextTrigger = 'lost_before';
    const lost = journal.accept('place', 2);
    expect((await settled(lost))?.detail).toMatch(/^the controller did not take the command/);
    wire.nextTrigger = 'lost_after';
    const done = journal.accept('place', 2);
    await settled(done);
    expect(done.state).toBe('DONE');
    expect(wire.log).toEqual([1, 3]);
    expect(wire.closed).toBeGreaterThanOrEqual(2);
  });

  it('believes no single look: a trigger may arrive just after it', async () => {
    const { wire, journal, serve } = cell();
    serve();
    await warmUp(journal);
    const [trigger, observe] = [wire.trigger.bind(wire), wire.observe.bind(wire)];
    let isOnItsWay = false;
    wire.trigger = async () => {
      isOnItsWay = true;
      return 'unknown';
    };
    wire.observe = async () => {
      const view = await observe();
      if (isOnItsWay) await trigger();
      isOnItsWay = false;
      return view;
    };
    const line = journal.accept('place', 2);
    await settled(line);
    expect(line).toMatchObject({ state: 'DONE', reading: { carrier: false, target: true } });
    expect(wire.log).toEqual([1, 2]);
  });

  it('does not know when the controller shows another number, none, or no result', async () => {
    const { wire, journal, serve } = cell();
    serve();
    await warmUp(journal);
    const trigger = wire.trigger.bind(wire);
    for (const shown of [0, 77]) {
      wire.trigger = async () => {
        wire.latched = shown;
        return 'unknown';
      };
      const line = journal.accept('place', 2);
      await settled(line);
      expect(line.state).toBe('UNKNOWN');
      wire.latched = 1;
      journal.lastNumber += 100;
    }
    wire.trigger = trigger;
    wire.held = true;
    const cut = journal.accept('place', 2);
    await eventually('the motion', () => wire.log.includes(cut.number));
    wire.powerCycle();
    await settled(cut);
    expect(cut).toMatchObject({ state: 'UNKNOWN', reading: { carrier: true } });
  });

  it('leaves a motion to the next gateway when it is abandoned, which attaches', async () => {
    const { wire, journal, serve } = cell();
    wire.held = true;
    const { gateway, ended } = serve();
    const line = journal.accept('pick', 1);
    await eventually('the motion', () => wire.log.length === 1);
    gateway.abandon();
    expect(await ended).toBe('stopped');
    expect(line.state).toBe('SENT');
    serve();
    wire.finish();
    await settled(line);
    expect(line.state).toBe('DONE');
    expect(wire.log).toEqual([1]);
  });

  it('is stopped only after the motion under way', async () => {
    const { wire, journal, serve } = cell();
    wire.held = true;
    const { gateway, ended } = serve();
    const line = journal.accept('pick', 1);
    await eventually('the motion', () => wire.log.length === 1);
    gateway.stop();
    journal.accept('scan', 1);
    wire.finish();
    expect(await ended).toBe('stopped');
    expect(line.state).toBe('DONE');
    expect(wire.log).toEqual([1]);
  });

  it.each([
    ['moves', true],
    ['has moved', false],
  ])('sends an accepted command that %s already as UNKNOWN, not as refused', async (_, isHeld) => {
    const { wire, journal, serve } = cell();
    wire.held = isHeld;
    // A trigger of an earlier owner, or of an earlier command, strikes between arming and looking.
    const observe = wire.observe.bind(wire);
    wire.observe = async () => {
      if (wire.log.length === 0) await wire.trigger();
      return observe();
    };
    serve({ lookEveryMs: 10_000 });
    const line = journal.accept('pick', 1);
    await settled(line);
    expect(line.state).toBe('UNKNOWN');
    expect(wire.log).toEqual([1]);
  });

  it('gives a command up that it could not send in time, and a motion it lost sight of', async () => {
    const { wire, journal, serve } = cell();
    wire.isSilent = true;
    serve();
    const unsent = journal.accept('pick', 1);
    expect((await settled(unsent))?.detail).toMatch(/^the command was not sent/);
    expect(unsent).toMatchObject({ state: 'FAILED', reading: { carrier: null } });
    wire.isSilent = false;
    await settled(journal.accept('pick', 1));
    wire.held = true;
    const lost = journal.accept('place', 2);
    await eventually('the motion', () => wire.log.includes(lost.number));
    wire.isSilent = true;
    await settled(lost);
    expect(lost.state).toBe('UNKNOWN');
    expect(journal.reports).toContain(null);
  });

  it('moves at most once a command and never lies about it, whatever fails', async () => {
    const fault = fc.constantFrom(
      'none',
      'lost_before',
      'lost_after',
      'silence',
      'power_cycle',
      'crash',
      'mark_before',
      'mark_after',
      'settle_before',
      'settle_after',
      'second_gateway',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { minLength: 1, maxLength: 12 }), async (faults) => {
        const { wire, journal, serve } = cell();
        let { gateway } = serve();
        for (const kind of faults) {
          const line = journal.accept(wire.carrier === null ? 'pick' : 'place', 1);
          let struck = false;
          const once = (call: string, when: 'before' | 'after') => {
            journal.failure = (name, at) => {
              const strikes = !struck && name === call && at === when;
              struck ||= strikes;
              return strikes;
            };
          };
          if (kind === 'lost_before' || kind === 'lost_after') wire.nextTrigger = kind;
          if (kind === 'mark_before') once('markSent', 'before');
          if (kind === 'mark_after') once('markSent', 'after');
          if (kind === 'settle_before') once('settle', 'before');
          if (kind === 'settle_after') once('settle', 'after');
          wire.held =
            kind === 'power_cycle' || kind === 'crash' || kind === 'silence' || kind === 'second_gateway';
          gateway.ring();
          if (wire.held) {
            await eventually('the motion', () => wire.log.includes(line.number) || line.reading, 3_000);
            if (kind === 'silence') {
              wire.isSilent = true;
              setTimeout(() => {
                wire.isSilent = false;
              }, 5);
            }
            if (kind === 'power_cycle') wire.powerCycle();
            if (kind === 'crash') {
              gateway.abandon();
              gateway = serve().gateway;
            }
            if (kind === 'second_gateway') gateway = serve().gateway;
            wire.finish();
          }
          await settled(line);
          wire.held = false;
          journal.failure = () => false;
          const moved = wire.log.filter((number) => number === line.number).length;
          expect(moved).toBeLessThanOrEqual(1);
          expect(new Set(wire.triggers).size, 'triggers per number').toBe(wire.triggers.length);
          if (line.state === 'DONE') expect(moved).toBe(1);
          if (
            /^the (command was not sent|controller (did not take|refused) the command)/.test(
              line.reading?.detail ?? '',
            )
          )
            expect(moved).toBe(0);
        }
        gateway.abandon();
      }),
      { numRuns: 60, endOnFailure: true },
    );
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { byUrgency } from '../../domain/priority.ts';
import {
  clearFault,
  dispatchAs,
  enqueue,
  grant,
  hold,
  IDLE_ROBOT,
  nextTurn,
  type RobotState,
  releaseStep,
  SETTLED_TURNS_KEPT,
  settle,
  type TurnRequest,
  takeOut,
} from '../../domain/turns.ts';

const request = (jobId: string, change: Partial<TurnRequest> = {}): TurnRequest => ({
  jobId,
  turn: 1,
  workflowId: `w-${jobId}`,
  priority: 20,
  requestedAt: 0,
  ...change,
});
const queued = (...requests: TurnRequest[]): RobotState => requests.reduce(enqueue, IDLE_ROBOT);

describe('the queue of a robot', () => {
  test('goes by priority, then by who asked first, then by job', () => {
    const state = queued(
      request('c', { requestedAt: 2 }),
      request('b', { requestedAt: 1 }),
      request('urgent', { priority: 30, requestedAt: 9 }),
      request('a', { requestedAt: 1 }),
    );
    expect(state.queue.map(({ jobId }) => jobId)).toEqual(['urgent', 'a', 'b', 'c']);
  });

  test('takes a request once: while it waits, while it has the turn, after it gave it back', () => {
    const waiting = queued(request('a'));
    expect(enqueue(waiting, request('a', { requestedAt: 5 }))).toBe(waiting);
    const granted = grant(waiting, request('a'), 7);
    expect(enqueue(granted, request('a'))).toBe(granted);
    const settled = settle(granted, { jobId: 'a', turn: 1 });
    expect(enqueue(settled, request('a'))).toBe(settled);
  });

  test('gives a request that waits the place of its newest priority, and never of an older one', () => {
    const state = queued(request('a', { requestedAt: 1 }), request('b', { requestedAt: 2 }));
    const urgent = enqueue(state, request('b', { priority: 90, revision: 1, requestedAt: 9 }));
    expect(urgent.queue.map(({ jobId, priority }) => [jobId, priority])).toEqual([
      ['b', 90],
      ['a', 20],
    ]);
    const late = enqueue(urgent, request('b', { priority: 20, requestedAt: 2 }));
    expect(late).toBe(urgent);
    expect(enqueue(urgent, request('b', { priority: 5, revision: 1 }))).toBe(urgent);
    // Not urgent any more: among its equals it stands where it stood, by the time at which it asked first.
    const calm = enqueue(
      enqueue(urgent, request('c', { requestedAt: 3 })),
      request('b', { revision: 2, requestedAt: 11 }),
    );
    expect(calm.queue.map(({ jobId }) => jobId)).toEqual(['a', 'b', 'c']);
  });

  test('gives a request whose revision overtook it one place', () => {
    const first = queued(request('a', { priority: 90, revision: 1 }));
    expect(enqueue(first, request('a'))).toBe(first);
  });

  test('takes the same job again under its next turn', () => {
    const settled = settle(grant(queued(request('a')), request('a'), 1), { jobId: 'a', turn: 1 });
    expect(nextTurn(enqueue(settled, request('a', { turn: 2 })))).toMatchObject({ turn: 2 });
  });

  test('lets go of a request that went elsewhere, and takes it back', () => {
    const state = queued(request('a'), request('b', { requestedAt: 1 }));
    const rest = takeOut(state, [{ jobId: 'a', turn: 1 }]);
    expect(rest.queue.map(({ jobId }) => jobId)).toEqual(['b']);
    expect(takeOut(rest, [{ jobId: 'a', turn: 1 }])).toBe(rest);
    expect(enqueue(rest, request('a')).queue.map(({ jobId }) => jobId)).toEqual(['a', 'b']);
  });

  test('keeps out a request that was withdrawn before it came', () => {
    const state = settle(IDLE_ROBOT, { jobId: 'a', turn: 1 });
    expect(enqueue(state, request('a')).queue).toEqual([]);
  });

  test('forgets every turn of a job that gives all of them back', () => {
    const state = enqueue(grant(queued(request('a')), request('a'), 1), request('a', { turn: 2 }));
    const settled = settle(state, { jobId: 'a', turn: null });
    expect(settled).toMatchObject({ queue: [], current: null });
    expect(enqueue(settled, request('a', { turn: 3 })).queue).toEqual([]);
  });

  test('remembers a bounded number of settled turns', () => {
    let state = IDLE_ROBOT;
    for (let n = 0; n < SETTLED_TURNS_KEPT + 5; n += 1) state = settle(state, { jobId: `j${n}`, turn: 1 });
    expect(state.settledTurns).toHaveLength(SETTLED_TURNS_KEPT);
    expect(state.settledTurns.at(-1)).toBe(`j${SETTLED_TURNS_KEPT + 4}/1`);
  });
});

describe('a turn', () => {
  test('is granted to nobody while there is one, while the robot rests, and while a fault holds it', () => {
    const state = queued(request('a'), request('b', { requestedAt: 1 }));
    expect(nextTurn(state)?.jobId).toBe('a');
    expect(nextTurn(grant(state, request('a'), 1))).toBeNull();
    expect(nextTurn(dispatchAs(state, 'paused'))).toBeNull();
    expect(nextTurn(dispatchAs(state, 'maintenance'))).toBeNull();
    expect(nextTurn(dispatchAs(state, 'paused_now'))).toBeNull();
    const held = hold(hold(hold(state, 'f1'), 'f2'), 'f1');
    expect(held.heldFaults).toEqual(['f1', 'f2']);
    expect(nextTurn(clearFault(held, 'f1'))).toBeNull();
    expect(nextTurn(clearFault(clearFault(held, 'f1'), 'f2'))?.jobId).toBe('a');
  });

  test('that was withdrawn while it was granted stays withdrawn', () => {
    const withdrawn = settle(queued(request('a')), { jobId: 'a', turn: 1 });
    expect(grant(withdrawn, request('a'), 3)).toBe(withdrawn);
  });

  test('of another job is not ended by a release', () => {
    const state = grant(queued(request('a')), request('a'), 1);
    expect(settle(state, { jobId: 'b', turn: 1 }).current?.jobId).toBe('a');
    expect(settle(state, { jobId: 'a', turn: 2 }).current?.jobId).toBe('a');
  });

  test('has a step name of its own for giving it back', () => {
    expect([releaseStep(1), releaseStep(null)]).toEqual(['release-turn/1', 'release-turn/all']);
  });
});

test('whatever the messages and their order, no job is queued twice, and none while it has the turn', () => {
  const job = fc.constantFrom('a', 'b', 'c');
  const message = fc.oneof(
    fc.record({
      do: fc.constant('ask' as const),
      job,
      turn: fc.integer({ min: 1, max: 2 }),
      priority: fc.nat(3),
      requestedAt: fc.nat(120_000),
    }),
    fc.record({ do: fc.constant('settle' as const), job, turn: fc.integer({ min: 1, max: 2 }) }),
    fc.record({ do: fc.constant('grant' as const) }),
    fc.record({ do: fc.constantFrom('hold' as const, 'clear' as const), fault: fc.constantFrom('f', 'g') }),
  );
  fc.assert(
    fc.property(fc.array(message, { maxLength: 40 }), (messages) => {
      let state = IDLE_ROBOT;
      const settled = new Set<string>();
      for (const each of messages) {
        if (each.do === 'ask') state = enqueue(state, request(each.job, each));
        if (each.do === 'settle') {
          state = settle(state, { jobId: each.job, turn: each.turn });
          settled.add(`${each.job}/${each.turn}`);
        }
        if (each.do === 'hold') state = hold(state, each.fault);
        if (each.do === 'clear') state = clearFault(state, each.fault);
        const next = nextTurn(state);
        if (each.do === 'grant' && next !== null) state = grant(state, next, 1);
        const live = [...state.queue, ...(state.current === null ? [] : [state.current])];
        const labels = live.map(({ jobId, turn }) => `${jobId}/${turn}`);
        expect(new Set(labels).size).toBe(labels.length);
        expect(labels.filter((label) => settled.has(label))).toEqual([]);
        expect(state.queue).toEqual(state.queue.toSorted(byUrgency));
      }
    }),
  );
});

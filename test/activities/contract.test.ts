import { Client, Connection } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  Mark,
  MotionActivities,
  MotionOrder,
  MotionOutcome,
  PicklistActivities,
  RobotActivities,
  StepRef,
  StorageActivities,
} from '../../activities/contract.ts';
import { createPicklistActivities } from '../../activities/picklist.ts';
import { createPicklist } from '../../db/picklists.ts';
import type { Confirmation } from '../../domain/confirmation.ts';
import type { JobKind } from '../../domain/job.ts';
import type { PlaceRef, Reservation } from '../../workflows/messages/job.ts';
import { AT_WORK, AWAIT_SCAN, Job, ProcessLab, UNDOING } from '../setup/process-lab.ts';
import { createTestNamespace, temporalServer } from '../setup/temporal.ts';
import { createFakeActivities } from '../workflows/fakes.ts';
import { Laboratory } from '../workflows/laboratory.ts';

/** A job in either world. */
interface Process {
  readonly ref: (step: string) => StepRef;
  readonly barcode: string;
  /** state, phase and priority of the job's row */
  readonly view: () => Promise<{ state: string; phase: string; priority: number }>;
}

/** What the scenarios need of a store, real or fake. */
interface World {
  readonly act: StorageActivities & MotionActivities & RobotActivities & PicklistActivities;
  readonly tenantId: string;
  readonly robotId: string;
  start(
    kind: JobKind,
    mode: 'hand' | 'robot',
    like?: { sampleOf?: Process; into?: string },
  ): Promise<Process>;
  /** a picklist of retrievals by hand */
  list(tubes: number): Promise<{ readonly id: string; jobOf(jobId: string): Promise<Process> }>;
  scan(place: PlaceRef, sampleBarcode: string | null): Confirmation;
  /** accepts a motion, has the robot carry it out, and awaits its end */
  carryOut(process: Process, order: MotionOrder): Promise<MotionOutcome>;
  freePosition(): Promise<string>;
}

async function fakeWorld(client: Client): Promise<World> {
  const lab = new Laboratory('00000000-0000-7000-8000-00000000c0de');
  const robot = lab.addRobot();
  lab.pickupMs = 600_000;
  for (let n = 0; n < 40; n++) lab.addPosition();
  for (let n = 0; n < 20; n++) lab.addPosition('handoff');
  const act = createFakeActivities({ laboratory: lab, client });
  const free = () =>
    [...lab.positions.values()].findLast(
      (each) => each.kind === 'position' && each.sampleId === null && each.reservedBy === null,
    );
  const samples = new Map<string, string>();
  return {
    act,
    tenantId: lab.actor.tenantId,
    robotId: robot.id,
    async start(kind, mode, like = {}) {
      const known = like.sampleOf && samples.get(like.sampleOf.ref('').jobId);
      const sample = known
        ? lab.sample(known)
        : lab.addSample(kind === 'placement' ? null : (free() ?? null));
      const target = like.into
        ? ({ kind: 'named', positionId: like.into } as const)
        : ({ kind: 'chosen', withinId: null } as const);
      const id = lab.newId();
      const workflowId = `workflow-${id}`;
      const robotId = mode === 'robot' ? robot.id : null;
      lab.addJob({
        id,
        kind,
        mode,
        sampleId: sample.id,
        robotId,
        target,
        handoffPositionId: null,
        workflowId,
      });
      samples.set(id, sample.id);
      return {
        ref: (step) => ({ actor: lab.actor, jobId: id, workflowId, step }),
        barcode: sample.barcode,
        view: async () => lab.job(id),
      };
    },
    async list(tubes) {
      const { id } = lab.addPicklist(
        4,
        Array.from({ length: tubes }, () => ({
          kind: 'retrieval' as const,
          mode: 'hand' as const,
          sampleId: lab.addSample(free() ?? null).id,
          robotId: null,
          target: { kind: 'chosen' as const, withinId: null },
          handoffPositionId: null,
        })),
      );
      const jobOf = async (jobId: string) => {
        const { workflowId, sampleId } = lab.job(jobId);
        return {
          ref: (step: string) => ({ actor: lab.actor, jobId, workflowId, step }),
          barcode: lab.sample(sampleId).barcode,
          view: async () => lab.job(jobId),
        };
      };
      return { id, jobOf };
    },
    scan: (place, sampleBarcode) => ({
      actor: lab.actor,
      sampleBarcode,
      containerBarcode: lab.position(place.positionId).containerBarcode,
      position: place.label,
      secondPersonId: null,
    }),
    async carryOut(process, order) {
      const ref = process.ref(`${order.operation}/${order.positionId}`);
      const { commandId } = await act.submitMotion(ref, order);
      return act.awaitMotion(ref, commandId);
    },
    freePosition: async () => String(free()?.place.positionId),
  };
}

async function realWorld(lab: ProcessLab): Promise<World> {
  const picklists = createPicklistActivities({
    db: lab.store.db,
    jobs: { start: async () => {}, cancel: async () => {} },
  });
  const act = { ...lab.storage, ...lab.motion, ...lab.robots, ...picklists };
  const samples = new Map<string, { sampleId: string; barcode: string }>();
  return {
    act,
    tenantId: lab.store.tenantId,
    robotId: lab.robotId,
    async start(kind, mode, like = {}) {
      const known = like.sampleOf && samples.get(like.sampleOf.ref('').jobId);
      const tube = lab.newTube();
      const stored = known ?? (kind === 'placement' ? null : await lab.storedTube());
      const into = like.into ?? (kind === 'move' ? await lab.freePosition() : undefined);
      const job =
        kind === 'placement'
          ? await lab.placement(stored ? null : tube, {
              mode,
              ...(stored && { sampleId: stored.sampleId }),
              ...(into ? { positionId: into } : { withinId: lab.box }),
            })
          : kind === 'retrieval'
            ? await lab.retrieval(String(stored?.sampleId), mode)
            : await lab.move(String(stored?.sampleId), mode, into);
      const barcode = stored?.barcode ?? tube.barcode;
      samples.set(job.id, { sampleId: job.sampleId, barcode });
      return { ref: (step) => job.ref(step), barcode, view: () => job.row() };
    },
    async list(tubes) {
      const id = uuidv7();
      const items = [];
      for (let given = 1; given <= tubes; given += 1) {
        const { sampleId, barcode: reference } = await lab.storedTube();
        const order = { kind: 'retrieval', handoffPositionId: null } as const;
        items.push({ given, reference, request: { sampleId, order, confirmation: null }, place: null });
      }
      const list = {
        id,
        kind: 'retrieval',
        mode: 'hand',
        name: null,
        priority: 20,
        window: 4,
        items,
      } as const;
      await createPicklist(lab.store.db, lab.actor, list, async () => {});
      const jobOf = async (jobId: string) => {
        const { workflowId, sampleId } = await new Job(lab, jobId, '', '').row();
        const job = new Job(lab, jobId, workflowId, sampleId);
        return { ref: (step: string) => job.ref(step), barcode: '', view: () => job.row() };
      };
      return { id, jobOf };
    },
    scan: (place, sampleBarcode) => lab.scan(place, sampleBarcode),
    async carryOut(process, order) {
      const ref = process.ref(`${order.operation}/${order.positionId}`);
      const { commandId } = await act.submitMotion(ref, order);
      await lab.send(commandId);
      // What the sensors of a robot say that does as it is told.
      await lab.settle(commandId, 'DONE', {
        errorCode: 0,
        carrier: order.operation === 'pick' || order.operation === 'scan',
        source: order.operation === 'place' ? null : false,
        target: order.operation === 'place' || order.operation === 'transfer' ? true : null,
        barcode: order.operation === 'scan' || order.operation === 'transfer' ? process.barcode : null,
      });
      return new MockActivityEnvironment().run(() => act.awaitMotion(ref, commandId));
    },
    freePosition: () => lab.freePosition(),
  };
}

/** What happened, in words that are the same in both worlds: no ids, no sentences. */
type Story = unknown[];

class Teller {
  readonly world: World;
  readonly story: Story = [];

  constructor(world: World) {
    this.world = world;
  }

  /** Notes the outcome of a step: its kind or the code it refused or failed with, and the job afterwards. */
  async tell(process: Process, what: string, step: Promise<unknown>): Promise<void> {
    let outcome: unknown;
    try {
      outcome = kindOf(await step);
    } catch (error) {
      const type = error instanceof Error && 'type' in error ? error.type : error;
      const isFinal = error instanceof Error && 'nonRetryable' in error ? error.nonRetryable : null;
      outcome = { failed: type, isFinal };
    }
    const { state, phase } = await process.view();
    this.story.push([what, outcome, state, phase]);
  }

  async custody(process: Process): Promise<void> {
    const where = await this.world.act.custodyOf(process.ref(`custody/${this.story.length}`));
    this.story.push(['custody', where.kind, where.kind === 'unknown' && where.isGivenUp]);
  }
}

function kindOf(result: unknown): unknown {
  if (typeof result !== 'object' || result === null) return 'done';
  if ('refusal' in result && typeof result.refusal === 'object' && result.refusal !== null) {
    return { refused: 'code' in result.refusal ? result.refusal.code : null };
  }
  if ('outcome' in result) {
    const state = 'state' in result ? result.state : null;
    return { outcome: result.outcome, state };
  }
  if ('carrier' in result && 'detail' in result) return { ...result, detail: '' };
  return 'done';
}

async function reserved(step: Promise<Reservation>) {
  const answer = await step;
  if (answer.outcome === 'refused') throw new Error(answer.refusal.detail);
  return answer;
}

const order = (
  world: World,
  fence: number,
  operation: MotionOrder['operation'],
  place: PlaceRef,
): MotionOrder => ({
  operation,
  robotId: world.robotId,
  fence,
  positionId: place.positionId,
  attempt: 1,
  next: { state: 'RUNNING', phase: 'PICKING', waitingFor: null },
});

async function takeTurn(world: World, process: Process, turn = 1): Promise<number> {
  const { jobId, workflowId } = process.ref('');
  const request = { jobId, turn, workflowId, priority: 20, requestedAt: 0 };
  const grant = await world.act.grantTurn(world.tenantId, world.robotId, request, []);
  if (!grant || !('fence' in grant)) throw new Error('not granted');
  return grant.fence;
}

async function giveTurnBack(world: World, process: Process): Promise<void> {
  await world.act.requestTurn(process.ref('request'), world.robotId, 20, 1);
  await world.act.releaseTurn(process.ref('release-turn/1'), world.robotId, 1);
}

const carrierOf = (world: World) => ({ kind: 'carrier', robotId: world.robotId }) as const;

const SCENARIOS: Record<string, (t: Teller) => Promise<void>> = {
  'a tube that is looked for, through a safety hold': async (t) => {
    const { act, robotId } = t.world;
    const p = await t.world.start('retrieval', 'robot');
    const { place } = await reserved(act.reserveRetrieval(p.ref('reserve'), AT_WORK));
    const at = { kind: 'position', positionId: place.positionId } as const;
    const doubt = { robotId, detail: '', candidates: [at, carrierOf(t.world)], stop: 'a door is open' };
    await t.tell(p, 'frozen without the turn', act.freeze(p.ref('early'), doubt));
    const fence = await takeTurn(t.world, p);
    const frozen = await act.freeze(p.ref('freeze'), doubt);
    t.story.push({ rises: frozen.fence > fence });
    await t.custody(p);
    await t.tell(
      p,
      'under the old fence',
      act.submitMotion(p.ref('old'), order(t.world, fence, 'pick', place)),
    );
    await t.tell(p, 'held', act.holdForSafety(p.ref('hold'), robotId, 'a door is open'));
    t.story.push({ isHeld: await act.isHeld(p.ref('held'), robotId) });
    await t.tell(p, 'found', act.recordFinding(p.ref('found'), { seen: at, detail: '', next: AT_WORK }));
    await t.custody(p);
    t.story.push({ quarantine: await act.reserveQuarantine(p.ref('quarantine'), robotId) });
    await giveTurnBack(t.world, p);
    await t.tell(p, 'finished', act.finishJob(p.ref('finish'), 'FAILED', ''));
    await t.tell(p, 'held when it is over', act.isHeld(p.ref('late'), robotId));
  },
  'a question that nobody answers': async (t) => {
    const { act, robotId } = t.world;
    const p = await t.world.start('retrieval', 'robot');
    await reserved(act.reserveRetrieval(p.ref('reserve'), AT_WORK));
    const problem = { kind: 'dropped', detail: '', robotId, candidates: [carrierOf(t.world)] } as const;
    const { faultId } = await act.park(p.ref('park'), problem);
    t.story.push({ isHeldByItsOwn: await act.isHeld(p.ref('held'), robotId) });
    await t.tell(p, 'escalated', act.escalate(p.ref('escalate'), faultId, 1));
    const q = await t.world.start('retrieval', 'robot');
    await reserved(act.reserveRetrieval(q.ref('reserve'), AT_WORK));
    t.story.push({ warned: await act.warnNotReady(q.ref('warn'), robotId) });
    t.story.push({ isHeldByAnother: await act.isHeld(q.ref('held'), robotId) });
    const found = {
      actor: p.ref('').actor,
      faultId,
      answer: 'at_source',
      sampleBarcode: p.barcode,
      robotFit: true,
      comment: null,
      next: 'release',
      positionId: null,
      lockedOut: true,
    } as const;
    await t.tell(p, 'decided', act.applyDecision(p.ref('decide'), found));
    t.story.push({ isHeldThen: await act.isHeld(q.ref('held'), robotId) });
  },
  'a placement by hand, after scans that do not fit': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('placement', 'hand');
    const { place, handoff, robotId } = await reserved(act.reservePlacement(p.ref('reserve'), AWAIT_SCAN));
    t.story.push({ handoff, robotId });
    await t.custody(p);
    await t.tell(p, 'wrong tube', act.confirmPlaced(p.ref('1'), place, t.world.scan(place, 'FOREIGN')));
    await t.tell(p, 'unreadable', act.confirmPlaced(p.ref('2'), place, t.world.scan(place, null)));
    await t.tell(p, 'right', act.confirmPlaced(p.ref('3'), place, t.world.scan(place, p.barcode)));
    await t.custody(p);
    await t.tell(p, 'released again', act.releaseReservations(p.ref('release')));
  },
  'a position that is taken, a sample that is busy': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('placement', 'hand');
    const { place } = await reserved(act.reservePlacement(p.ref('reserve'), AWAIT_SCAN));
    const q = await t.world.start('placement', 'hand', { into: place.positionId });
    await t.tell(q, 'taken', act.reservePlacement(q.ref('reserve'), AWAIT_SCAN));
    const r = await t.world.start('retrieval', 'hand');
    await reserved(act.reserveRetrieval(r.ref('reserve'), AWAIT_SCAN));
    const s = await t.world.start('move', 'hand', { sampleOf: r });
    await t.tell(s, 'busy', act.reserveMove(s.ref('reserve'), AWAIT_SCAN));
    await t.tell(p, 'given up', act.finishJob(p.ref('finish'), 'CANCELLED', 'Nobody came.'));
    await t.tell(r, 'released', act.releaseReservations(r.ref('release')));
    await t.tell(r, 'given up', act.finishJob(r.ref('finish'), 'FAILED', 'Nobody came.'));
  },
  'a placement by robot': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('placement', 'robot');
    const { place, handoff } = await reserved(act.reservePlacement(p.ref('reserve'), AWAIT_SCAN));
    if (!handoff) throw new Error('no hand-off');
    const wrong = t.world.scan(handoff, 'FOREIGN');
    await t.tell(p, 'wrong tube', act.confirmAtHandoff(p.ref('1'), handoff, wrong, AT_WORK));
    const right = t.world.scan(handoff, p.barcode);
    await t.tell(p, 'at hand-off', act.confirmAtHandoff(p.ref('2'), handoff, right, AT_WORK));
    await t.custody(p);
    const early = act.submitMotion(p.ref('early'), order(t.world, 1_000, 'pick', handoff));
    await t.tell(p, 'without the turn', early);
    const fence = await takeTurn(t.world, p);
    t.story.push({ sameFence: (await takeTurn(t.world, p)) === fence });
    for (const [operation, at, seen] of [
      ['pick', handoff, carrierOf(t.world)],
      ['scan', handoff, null],
      ['place', place, { kind: 'position', positionId: place.positionId }],
    ] as const) {
      await t.tell(p, operation, t.world.carryOut(p, order(t.world, fence, operation, at)));
      if (seen) await t.tell(p, 'seen', act.moveCustody(p.ref(`seen/${operation}`), seen, AT_WORK));
      await t.custody(p);
    }
    await giveTurnBack(t.world, p);
    await t.tell(p, 'finished', act.finishJob(p.ref('finish'), 'COMPLETED', 'Stored.'));
  },
  'a retrieval by hand': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('retrieval', 'hand');
    const { place, source, pickupMs } = await reserved(act.reserveRetrieval(p.ref('reserve'), AWAIT_SCAN));
    t.story.push({ sourceIsPlace: source?.positionId === place.positionId, pickupMs });
    await t.custody(p);
    await t.tell(p, 'wrong tube', act.confirmTaken(p.ref('1'), place, t.world.scan(place, 'FOREIGN')));
    await t.tell(p, 'right', act.confirmTaken(p.ref('2'), place, t.world.scan(place, p.barcode)));
    await t.custody(p);
    const q = await t.world.start('retrieval', 'hand', { sampleOf: p });
    await t.tell(q, 'not stored', act.reserveRetrieval(q.ref('reserve'), AWAIT_SCAN));
  },
  'a retrieval by robot to the hand-off': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('retrieval', 'robot');
    const { place, handoff, leaseExpiresAt, pickupMs } = await reserved(
      act.reserveRetrieval(p.ref('reserve'), AT_WORK),
    );
    if (!handoff) throw new Error('no hand-off');
    t.story.push({ leaseExpiresAt, pickupMs });
    const fence = await takeTurn(t.world, p);
    await t.tell(p, 'pick', t.world.carryOut(p, order(t.world, fence, 'pick', place)));
    await t.tell(p, 'seen', act.moveCustody(p.ref('carrier'), carrierOf(t.world), AT_WORK));
    await t.tell(p, 'place', t.world.carryOut(p, order(t.world, fence, 'place', handoff)));
    const seen = { kind: 'handoff', positionId: handoff.positionId } as const;
    await t.tell(p, 'seen', act.moveCustody(p.ref('handoff'), seen, AWAIT_SCAN));
    await giveTurnBack(t.world, p);
    const actor = p.ref('').actor;
    await t.tell(p, 'wrong', act.handOver(p.ref('1'), handoff, { actor, sampleBarcode: 'FOREIGN' }));
    await t.tell(p, 'right', act.handOver(p.ref('2'), handoff, { actor, sampleBarcode: p.barcode }));
    await t.custody(p);
    const { jobId, workflowId } = p.ref('');
    const late = { jobId, turn: 2, workflowId, priority: 20, requestedAt: 0 };
    t.story.push(await act.grantTurn(t.world.tenantId, t.world.robotId, late, []));
  },
  'a placement by a store that does the moves itself': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('placement', 'robot');
    const { place, handoff, robotLevel } = await reserved(act.reservePlacement(p.ref('reserve'), AWAIT_SCAN));
    if (!handoff) throw new Error('no hand-off');
    t.story.push({ robotLevel });
    const right = t.world.scan(handoff, p.barcode);
    await t.tell(p, 'at hand-off', act.confirmAtHandoff(p.ref('1'), handoff, right, AT_WORK));
    const fence = await takeTurn(t.world, p);
    const transfer = {
      ...order(t.world, fence, 'transfer', handoff),
      toPositionId: place.positionId,
    };
    await t.tell(p, 'transfer', t.world.carryOut(p, transfer));
    const reason = 'Look first.';
    await t.tell(p, 'blocked', act.blockPlace(p.ref('block'), place.positionId, reason));
    const seen = { kind: 'position', positionId: place.positionId } as const;
    await t.tell(p, 'into a blocked place', act.moveCustody(p.ref('seen'), seen, AT_WORK));
    await t.tell(p, 'where it stands', act.blockPlace(p.ref('occupied'), handoff.positionId, reason));
    await t.custody(p);
    await giveTurnBack(t.world, p);
    await t.tell(p, 'finished', act.finishJob(p.ref('finish'), 'FAILED', ''));
  },
  'a move by hand, and what is not the job’s': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('move', 'hand');
    const { place, source, handoff } = await reserved(act.reserveMove(p.ref('reserve'), AWAIT_SCAN));
    t.story.push({ hasSource: source !== null, handoff });
    const elsewhere = { kind: 'position', positionId: await t.world.freePosition() } as const;
    await t.tell(p, 'not reserved', act.moveCustody(p.ref('lost'), elsewhere, UNDOING));
    await t.tell(p, 'cancelled', act.recordCancel(p.ref('cancel'), p.ref('').actor, null));
    await t.tell(p, 'moved', act.confirmPlaced(p.ref('1'), place, t.world.scan(place, p.barcode)));
    await t.custody(p);
  },
  'a job that is urgent, and not any more': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('placement', 'hand');
    await reserved(act.reservePlacement(p.ref('reserve'), AWAIT_SCAN));
    const { actor } = p.ref('');
    const [first, second, late] = [1, 2, 3].map((n) => `00000000-0000-7000-8000-00000000000${n}`);
    const told = async (eventId = '', priority: number) => {
      const step = act.reprioritise(p.ref(`expedite/${eventId}`), actor, priority, eventId);
      await t.tell(p, `priority ${priority}`, step);
      t.story.push((await p.view()).priority);
    };
    await told(first, 90);
    await told(second, 10);
    await told(first, 90);
    await told(first, 80);
    await t.tell(p, 'over', act.finishJob(p.ref('finish'), 'CANCELLED', ''));
    await told(late, 100);
  },
  'a robot that rests': async (t) => {
    const { act, tenantId, robotId } = t.world;
    const p = await t.world.start('placement', 'robot');
    await reserved(act.reservePlacement(p.ref('reserve'), AWAIT_SCAN));
    const { actor, jobId, workflowId } = p.ref('');
    const faultId = '00000000-0000-7000-8000-00000000fa01';
    const orders = [
      { command: 'pause', when: 'safe_point' },
      { command: 'clear', faultId },
      { command: 'pause', when: 'now' },
      { command: 'maintenance' },
      { command: 'pause', when: 'safe_point' },
      { command: 'resume' },
    ] as const;
    for (const [n, order] of orders.entries()) {
      const key = `${workflowId}/command/${n}`;
      const { answer, standing } = await act.commandRobot(robotId, key, { ...order, actor, reason: null });
      t.story.push(answer.outcome === 'refused' ? answer.refusal.code : answer.outcome, standing);
      const { queue: _, ...known } = await act.loadRobot(tenantId, robotId);
      t.story.push(known);
      const request = { jobId, turn: 1, workflowId, priority: 20, requestedAt: 0 };
      const granted = await act.grantTurn(tenantId, robotId, request, []);
      t.story.push(granted && 'fence' in granted ? 'granted' : granted);
    }
    const q = await t.world.start('placement', 'robot');
    await reserved(act.reservePlacement(q.ref('reserve'), AWAIT_SCAN));
    const next = { ...q.ref(''), turn: 1, priority: 20, requestedAt: 0 };
    t.story.push(await act.grantTurn(tenantId, robotId, next, []));
    t.story.push(await act.handQueueOver(tenantId, robotId, [next])); // nobody else is there
    await giveTurnBack(t.world, p);
    await t.tell(p, 'finished', act.finishJob(p.ref('finish'), 'CANCELLED', ''));
  },
  'a picklist that is cancelled after one tube of three': async (t) => {
    const { act, tenantId } = t.world;
    const { id, jobOf } = await t.world.list(3);
    const taken = async (): Promise<Process> => {
      const round = await act.advancePicklist(tenantId, id);
      t.story.push(round.next);
      if (round.next !== 'start') throw new Error(`nothing to start: ${round.next}`);
      expect(await act.advancePicklist(tenantId, id)).toEqual(round);
      return jobOf(round.jobId);
    };
    const first = await taken();
    t.story.push((await first.view()).state);
    await t.tell(first, 'finished', act.finishJob(first.ref('finish'), 'COMPLETED', ''));
    const second = await taken();
    const { actor } = second.ref('');
    t.story.push(await act.cancelPicklist(tenantId, id, actor, null));
    t.story.push((await act.advancePicklist(tenantId, id)).next);
    await t.tell(second, 'finished', act.finishJob(second.ref('finish'), 'FAILED', ''));
    t.story.push(await act.advancePicklist(tenantId, id), await act.advancePicklist(tenantId, id));
    t.story.push(kindOf(await act.cancelPicklist(tenantId, id, actor, null)));
  },
  'steps that are repeated': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('placement', 'hand');
    const first = await act.reservePlacement(p.ref('reserve'), AWAIT_SCAN);
    expect(await act.reservePlacement(p.ref('reserve'), AWAIT_SCAN)).toEqual(first);
    await t.tell(p, 'differently', act.reservePlacement(p.ref('reserve'), AT_WORK));
    const next: Mark = { state: 'COMPENSATING', phase: 'PUTTING_BACK', waitingFor: null };
    await t.tell(p, 'marked', act.markPhase(p.ref('mark'), next));
    await t.tell(p, 'finished', act.finishJob(p.ref('finish'), 'CANCELLED', ''));
    await t.tell(p, 'finished', act.finishJob(p.ref('finish'), 'CANCELLED', ''));
  },
  'a job whose workflow is gone': async (t) => {
    const { act } = t.world;
    const p = await t.world.start('placement', 'hand');
    await reserved(act.reservePlacement(p.ref('reserve'), AWAIT_SCAN));
    const other = { ...p.ref('adopt'), workflowId: `reconcile-${p.ref('').jobId}` };
    const { sampleId: _, ...adopted } = (await act.adoptJob(other)) ?? { sampleId: null };
    t.story.push(adopted);
    await t.tell(p, 'open', act.expectOpen({ ...other, step: 'open' }));
    await t.tell(p, 'finished', act.finishJob({ ...other, step: 'finish' }, 'FAILED', ''));
    await t.tell(p, 'open', act.expectOpen({ ...other, step: 'open' }));
    t.story.push(await act.adoptJob({ ...other, step: 'adopt/2' }));
  },
  'a parked job whose workflow is gone': async (t) => {
    const { act, robotId, tenantId } = t.world;
    const p = await t.world.start('retrieval', 'robot');
    await reserved(act.reserveRetrieval(p.ref('reserve'), AT_WORK));
    const held = async () => (await act.loadRobot(tenantId, robotId)).heldFaults;
    const before = await held();
    const problem = {
      kind: 'outcome_unknown',
      detail: '',
      robotId,
      candidates: [carrierOf(t.world)],
    } as const;
    const lost = await act.park(p.ref('park'), problem);
    const other = { ...p.ref('adopt'), workflowId: `reconcile-${p.ref('').jobId}` };
    await act.adoptJob(other);
    const asked = await act.park({ ...other, step: 'park' }, { ...problem, kind: 'workflow_gone' });
    t.story.push([lost.replaced, asked.replaced === lost.faultId]);
    expect(await held()).toEqual([...before, asked.faultId]);
    const { actor } = p.ref('');
    const given = {
      actor,
      faultId: asked.faultId,
      answer: 'with_me',
      robotFit: true,
      comment: null,
      next: 'release',
      positionId: null,
      lockedOut: true,
    } as const;
    const decision = { ...given, sampleBarcode: p.barcode };
    await t.tell(p, 'decided', act.applyDecision({ ...other, step: 'decide' }, decision));
    expect(await held()).toEqual(before);
    await t.tell(p, 'finished', act.finishJob({ ...other, step: 'finish' }, 'FAILED', ''));
  },
};

for (const answer of ['at_source', 'at_target', 'in_carrier', 'with_me', 'damaged', 'not_found'] as const) {
  SCENARIOS[`a parked retrieval, answered ${answer}`] = async (t) => {
    const { act } = t.world;
    const p = await t.world.start('retrieval', 'robot');
    const { place } = await reserved(act.reserveRetrieval(p.ref('reserve'), AT_WORK));
    const carrier = carrierOf(t.world);
    const { faultId } = await act.park(p.ref('park'), {
      kind: 'outcome_unknown',
      detail: 'The controller does not answer.',
      robotId: t.world.robotId,
      candidates: [carrier, { kind: 'position', positionId: place.positionId }],
    });
    await t.custody(p);
    const { actor } = p.ref('');
    const given = {
      actor,
      faultId,
      answer,
      sampleBarcode: null,
      robotFit: true,
      comment: null,
      next: 'release',
      positionId: null,
      lockedOut: true,
    } as const;
    const isScanned = answer !== 'not_found' && answer !== 'damaged';
    const sampleBarcode = isScanned ? p.barcode : null;
    const stale = { ...given, faultId: '00000000-0000-7000-8000-00000000beef', sampleBarcode };
    await t.tell(p, 'stale', act.applyDecision(p.ref('1'), stale));
    if (isScanned) {
      const wrong = { ...given, sampleBarcode: 'FOREIGN' };
      await t.tell(p, 'wrong tube', act.applyDecision(p.ref('2'), wrong));
    }
    await t.tell(p, 'decided', act.applyDecision(p.ref('3'), { ...given, sampleBarcode }));
    await t.custody(p);
    if (answer === 'in_carrier') {
      const seen = { kind: 'position', positionId: place.positionId } as const;
      await t.tell(p, 'put back', act.moveCustody(p.ref('back'), seen, UNDOING));
    }
    await t.tell(p, 'finished', act.finishJob(p.ref('finish'), 'COMPLETED_WITH_DEVIATION', ''));
  };
}

describe('fake and real activities tell the same story', () => {
  let lab: ProcessLab;
  let fake: World;
  let real: World;
  let connection: Connection;
  beforeAll(async () => {
    connection = await Connection.connect(temporalServer());
    const client = new Client({ connection, namespace: await createTestNamespace() });
    lab = await ProcessLab.open();
    fake = await fakeWorld(client);
    real = await realWorld(lab);
  });
  afterAll(async () => {
    await lab.close();
    await connection.close();
  });

  test.each(Object.entries(SCENARIOS))('%s', async (_, scenario) => {
    const [told, lived] = [new Teller(fake), new Teller(real)];
    await scenario(told);
    await scenario(lived);
    expect(told.story).toEqual(lived.story);
  });
});

import { Context } from '@temporalio/activity';
import { clearAlarmsOfRobot, raiseAlarm } from '../db/alarms.ts';
import { type Change, withChange } from '../db/change.ts';
import type { Database } from '../db/connection.ts';
import { lockSample, withdrawCustody } from '../db/custody.ts';
import { openDeviation } from '../db/deviations.ts';
import {
  beginComparison,
  type ComparisonRecord,
  countDiscrepancies,
  countOpened,
  endComparison,
  findComparison,
  freshDiscrepancies,
  inventoryRobots,
  readAtOf,
} from '../db/inventory.ts';
import { blockFreePosition } from '../db/location-service.ts';
import { lockPlaces } from '../db/places.ts';
import { listRobots } from '../db/robots.ts';
import { systemActor } from '../domain/actor.ts';
import { DomainError } from '../domain/errors.ts';
import { type Discrepancy, describeDiscrepancy, refusalOfInventory } from '../domain/inventory.ts';
import type { InventoryActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';

/** Discrepancies looked up at a time. */
const PAGE = 100;

const LOOK_FIRST =
  'The store’s own inventory and the record differ here: look what stands in this place, then unblock.';

/** Comparisons of a store's own inventory with the record. Each may be repeated. */
export function createInventoryActivities({ db }: { readonly db: Database }): InventoryActivities {
  return {
    beginComparisons: (tenantId) =>
      failingAsWorkflowsExpect(async () => {
        const begun: ComparisonRecord[] = [];
        for (const robotId of await inventoryRobots(db, tenantId)) {
          begun.push(await beginComparison(db, systemActor(tenantId), robotId, 'schedule'));
        }
        return begun.map(({ id, robotId }) => ({ comparisonId: id, robotId }));
      }),

    judgeInventory: (tenantId, comparisonId) =>
      failingAsWorkflowsExpect(async () => {
        const comparison = await findComparison(db, tenantId, comparisonId);
        if (!comparison) throw new DomainError('NOT_FOUND', `There is no comparison ${comparisonId}.`);
        if (comparison.state !== 'RUNNING') return;
        const counts = await countDiscrepancies(db, tenantId, comparisonId);
        const refusal = refusalOfInventory(counts);
        if (refusal === null) await openAll(db, comparison);
        await tellOfFailure(db, comparison, refusal);
        await endComparison(db, tenantId, comparisonId, { counts, failure: refusal });
      }),

    failComparison: (tenantId, comparisonId, why) =>
      failingAsWorkflowsExpect(async () => {
        const comparison = await findComparison(db, tenantId, comparisonId);
        if (!comparison) throw new DomainError('NOT_FOUND', `There is no comparison ${comparisonId}.`);
        if (comparison.state !== 'RUNNING') return;
        await tellOfFailure(db, comparison, why);
        await endComparison(db, tenantId, comparisonId, { counts: null, failure: why });
      }),
  };
}

const NOT_COMPARED = 'inventory_not_compared';

/** A store whose books nobody could compare has one alarm of the newest reason, until a comparison succeeds. */
async function tellOfFailure(
  db: Database,
  { actor, robotId }: ComparisonRecord,
  why: string | null,
): Promise<void> {
  const [robot] = await listRobots(db, actor.tenantId, robotId);
  const context = { actor, reason: 'inventory', device: `robot:${robotId}` } as const;
  await withChange(db, context, async (change) => {
    await clearAlarmsOfRobot(change, actor.tenantId, robotId, [NOT_COMPARED]);
    if (why === null) return;
    const message = `The inventory of ${robot?.name ?? 'a store'} was not compared with the record: ${why}`;
    const { tenantId } = actor;
    await raiseAlarm(change, {
      tenantId,
      kind: NOT_COMPARED,
      severity: 'warning',
      message,
      jobId: null,
      robotId,
    });
  });
}

/** One deviation a tube, each in a change of its own; what is open already is not opened again. */
async function openAll(db: Database, comparison: ComparisonRecord): Promise<void> {
  const { actor, robotId, id } = comparison;
  const [robot] = await listRobots(db, actor.tenantId, robotId);
  const context = { actor, reason: 'inventory', device: `robot:${robotId}` } as const;
  for (;;) {
    const fresh = await freshDiscrepancies(db, actor.tenantId, id, PAGE);
    let opened = 0;
    for (const discrepancy of fresh) {
      const isOpened = await withChange(db, context, (change) =>
        open(change, comparison, discrepancy, robot?.name ?? 'The store'),
      );
      if (isOpened) opened += 1;
      Context.current().heartbeat(discrepancy.address);
    }
    // What was not opened has moved since; the next comparison looks at it again.
    if (fresh.length < PAGE || opened === 0) return;
  }
}

/**
 * Opens the deviation of one discrepancy, and has the record withdraw what it cannot vouch for: a comparison moves no tube
 * and corrects no record, since the store's books are a record as well (invariant 1).
 * @returns whether it was opened
 */
async function open(
  change: Change,
  { actor, robotId, id }: ComparisonRecord,
  discrepancy: Discrepancy,
  store: string,
): Promise<boolean> {
  const { tx } = change;
  const { tenantId } = actor;
  const { kind, sampleId, recordedId, foundId, address } = discrepancy;
  if (recordedId !== null && sampleId !== null) {
    const sample = await lockSample(tx, tenantId, sampleId);
    const readAt = await readAtOf(tx, tenantId, id);
    const isAsRead =
      sample?.custody.kind === 'position' &&
      sample.custody.positionId === recordedId &&
      sample.jobId === null &&
      readAt !== null &&
      sample.custodySince < readAt;
    if (!isAsRead) return false;
    await withdrawCustody(change, tenantId, sample, kind === 'inventory_missing' ? 'unknown' : 'asserted');
  }
  const wanted = [recordedId, foundId].filter((each) => each !== null);
  const places = await lockPlaces(tx, tenantId, wanted);
  const nameOf = (positionId: string | null): string | null => {
    const place = positionId === null ? undefined : places.get(positionId);
    return place ? `${place.label} of ${place.containerName}` : null;
  };
  const names = { recorded: nameOf(recordedId), found: nameOf(foundId) };
  await openDeviation(change, {
    tenantId,
    kind,
    description: describeDiscrepancy(discrepancy, store, names),
    sampleId,
    jobId: null,
    robotId,
    facts: { address, position_id: recordedId, found_position_id: foundId, comparison_id: id },
  });
  const doubtful = kind === 'inventory_missing' ? recordedId : foundId;
  if (doubtful !== null) await blockFreePosition(change, tenantId, doubtful, LOOK_FIRST);
  await countOpened(tx, tenantId, id);
  return true;
}

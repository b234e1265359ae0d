import type { Context } from 'hono';
import { v7 as uuidv7 } from 'uuid';
import { type PlacesFound, picklistPlaces } from '../db/picklist-places.ts';
import {
  createPicklist,
  type ItemRequest,
  isRefusal,
  type NewPicklist,
  type NewPicklistItem,
  type PicklistItemRecord,
  type PicklistRecord,
} from '../db/picklists.ts';
import { DomainError, type Refusal } from '../domain/errors.ts';
import { type PicklistPlace, planPicklist } from '../domain/picklist.ts';
import { priorityOf } from '../domain/priority.ts';
import type { PicklistPlan, PicklistReport, PicklistRequest } from '../schemas/picklist.ts';
import { RUN_PICKLIST } from '../workflows/messages/picklist.ts';
import { picklistStartOptions } from '../workflows/messages/start.ts';
import type { ApiEnv } from './dependencies.ts';
import { rememberReply } from './middleware/idempotency.ts';
import { orderMaker } from './orders.ts';
import { picklistPath, presentPlan, presentReport } from './picklist-view.ts';
import { inTurns, orRefusal, type ProcessRequest } from './processes.ts';
import { isServiceFailure } from './workflow-service.ts';

/** What a request says of one tube. */
interface Asked {
  readonly reference: string;
  /** into the request's body */
  readonly pointer: string;
  readonly resolve: () => Promise<ProcessRequest>;
}

/**
 * The tubes of a request in the order in which every door is opened once. A tube that nobody knows, or that is in no
 * position, is refused by itself and comes last.
 * @throws DomainError VALIDATION when two entries name one tube, by its id and by its barcode
 */
async function planned(c: Context<ApiEnv>, request: PicklistRequest): Promise<NewPicklistItem[]> {
  const { actor, dependencies } = c.var;
  const asked = tubesOf(c, request);
  const resolved = await inTurns(asked, ({ resolve }) =>
    orRefusal(async (): Promise<ItemRequest> => {
      const { sampleId, order, confirmation } = await resolve();
      return { sampleId, order, confirmation };
    }),
  );
  refuseTwins(asked, resolved);
  const good = resolved.filter((each): each is ItemRequest => !isRefusal(each));
  const targets = good.flatMap(({ order }) => (order.kind === 'placement' ? [order.target] : []));
  const places = await picklistPlaces(dependencies.db, actor.tenantId, {
    samples: request.kind === 'placement' ? [] : good.map(({ sampleId }) => sampleId),
    positions: targets.flatMap((target) => (target.kind === 'named' ? [target.positionId] : [])),
    locations: targets.flatMap((target) => (target.kind === 'chosen' ? (target.withinId ?? []) : [])),
  });
  const items = asked.map(({ reference }, index): NewPicklistItem => {
    const tube = resolved[index];
    if (tube === undefined) throw new Error(`tube ${index} was not resolved`);
    return { given: index + 1, reference, ...(isRefusal(tube) ? refused(tube) : placed(tube, places)) };
  });
  const isGood = ({ request: each }: NewPicklistItem) => !isRefusal(each);
  return [...planPicklist(items.filter(isGood)), ...items.filter((item) => !isGood(item))];
}

function tubesOf(c: Context<ApiEnv>, request: PicklistRequest): Asked[] {
  const order = orderMaker(c, request);
  switch (request.kind) {
    case 'retrieval':
      return request.samples.map((reference, index) => ({
        reference,
        pointer: `/samples/${index}`,
        resolve: () => order.retrieval(reference, undefined),
      }));
    case 'move':
      return request.items.map(({ sample, target }, index) => ({
        reference: sample,
        pointer: `/items/${index}`,
        resolve: () => order.move(sample, target),
      }));
    case 'placement':
      return request.items.map((item, index) => ({
        reference: 'sample' in item ? item.sample : item.register.barcode,
        pointer: `/items/${index}`,
        resolve: () =>
          'sample' in item ? order.placementOf(item.sample, item) : order.placementOfNew(item.register, item),
      }));
  }
}

/** @throws DomainError VALIDATION */
function refuseTwins(asked: readonly Asked[], resolved: readonly (ItemRequest | Refusal)[]): void {
  const first = new Map<string, string>();
  const errors = asked.flatMap(({ pointer }, index) => {
    const tube = resolved[index];
    if (tube === undefined || isRefusal(tube)) return [];
    const before = first.get(tube.sampleId);
    first.set(tube.sampleId, before ?? pointer);
    return before === undefined ? [] : [{ pointer, detail: `should name another tube than ${before}` }];
  });
  const [one] = errors;
  if (one) throw new DomainError('VALIDATION', `The body’s ${one.pointer}: ${one.detail}`, { errors });
}

const refused = (refusal: Refusal) => ({ request: refusal, place: null });

function placed(tube: ItemRequest, places: PlacesFound): Pick<NewPicklistItem, 'request' | 'place'> {
  const { order, sampleId } = tube;
  if (order.kind === 'placement') return { request: tube, place: targetPlace(order.target, places) };
  const { custody, place } = places.samples.get(sampleId) ?? { custody: 'unknown', place: null };
  if (place !== null) return { request: tube, place };
  return refused({
    code: 'SAMPLE_NOT_STORED',
    detail: `Sample ${sampleId} is in custody ${custody}, in no position: store it first.`,
    facts: { custody },
  });
}

function targetPlace(
  target: Extract<ItemRequest['order'], { kind: 'placement' }>['target'],
  places: PlacesFound,
): PicklistPlace | null {
  if (target.kind === 'named') return places.positions.get(target.positionId) ?? null;
  return target.withinId === null ? null : (places.locations.get(target.withinId) ?? null);
}

/** What a request would do, and nothing of it. */
export async function dryRun(c: Context<ApiEnv>, request: PicklistRequest): Promise<PicklistPlan> {
  return presentPlan((await planned(c, request)).map(asRecord));
}

/**
 * Writes the list with the reply under the request's key, and starts its workflow; one that cannot be started at this
 * moment is started by the sweep.
 */
export async function orderPicklist(c: Context<ApiEnv>, request: PicklistRequest): Promise<PicklistReport> {
  const { actor, dependencies, limits } = c.var;
  const { kind, mode, name = null, priority, window } = request;
  const list: NewPicklist = {
    id: uuidv7(),
    kind,
    mode,
    name,
    priority: priorityOf(priority),
    window,
    items: await planned(c, request),
  };
  let report: PicklistReport | undefined;
  await createPicklist(dependencies.db, actor, list, async (tx, createdAt) => {
    report = presentReport(newRecord(list, actor, createdAt), list.items.map(asRecord), dependencies);
    await rememberReply(c, tx, { status: 202, body: report, location: picklistPath(list.id) });
  });
  if (report === undefined) throw new Error(`picklist ${list.id} was written without a report`);
  try {
    await dependencies.temporal.withDeadline(Date.now() + limits.earlyAnswerMs, () =>
      dependencies.temporal.workflow.start(RUN_PICKLIST, picklistStartOptions(actor.tenantId, list.id)),
    );
  } catch (error) {
    if (!isServiceFailure(error)) throw error;
    dependencies.log.warn(
      { requestId: c.var.requestId, picklistId: list.id, err: error },
      'a picklist was written and not started: the sweep starts it',
    );
  }
  return report;
}

function newRecord(list: NewPicklist, actor: PicklistRecord['actor'], createdAt: Date): PicklistRecord {
  const refusedCount = list.items.filter(({ request }) => isRefusal(request)).length;
  return {
    ...list,
    state: 'RUNNING',
    actor,
    cancel: null,
    version: 1,
    createdAt,
    finishedAt: null,
    counts: {
      ...(list.items.length > refusedCount && { PLANNED: list.items.length - refusedCount }),
      ...(refusedCount > 0 && { REFUSED: refusedCount }),
    },
  };
}

function asRecord({ given, reference, request, place }: NewPicklistItem, index: number): PicklistItemRecord {
  const isRefused = isRefusal(request);
  return {
    seq: index + 1,
    given,
    reference,
    sampleId: isRefused ? null : request.sampleId,
    place,
    state: isRefused ? 'REFUSED' : 'PLANNED',
    handoffId: null,
    result: isRefused ? { refusal: JSON.parse(JSON.stringify(request)) } : null,
    finishedAt: null,
    job: null,
  };
}

import type { Context } from 'hono';
import { v7 as uuidv7 } from 'uuid';
import { barcodeFor } from '../db/barcode-schemes.ts';
import { resolvePosition, resolveReference } from '../db/references.ts';
import type { Confirmation } from '../domain/confirmation.ts';
import { DomainError } from '../domain/errors.ts';
import type { NewSample, Target } from '../domain/order.ts';
import { type PriorityName, priorityOf } from '../domain/priority.ts';
import type { Quantity } from '../domain/quantity.ts';
import type { Zone } from '../domain/zone.ts';
import type { ScanRequest, TargetChoice } from '../schemas/automation.ts';
import type { ApiEnv } from './dependencies.ts';
import type { ProcessRequest } from './processes.ts';

interface Common {
  readonly mode: 'hand' | 'robot';
  readonly priority: PriorityName | number;
}

interface PositionChoice {
  readonly location: string;
  readonly position: string;
}

interface PlacementFields {
  readonly target?: TargetChoice | undefined;
  readonly handoff?: PositionChoice | undefined;
  readonly confirmation?: ScanRequest | undefined;
}

interface NewSampleFields {
  /** left out: the next of the laboratory's scheme */
  readonly barcode?: string | undefined;
  readonly type: string;
  readonly project?: string | undefined;
  readonly zone: Zone;
  readonly class?: string | undefined;
  readonly hazard?: string | undefined;
  readonly owner?: string | undefined;
  readonly quarantine?: boolean | undefined;
  readonly subject?: string | undefined;
  readonly lot?: string | undefined;
  readonly expiresOn?: string | undefined;
  readonly quantity?: Quantity | undefined;
}

/** Turns what callers write into what processes are asked: references become ids, a scan gets its actor. */
export function orderMaker(c: Context<ApiEnv>, asked: Common) {
  const { actor, dependencies } = c.var;
  const { db } = dependencies;
  const common = { mode: asked.mode, priority: priorityOf(asked.priority) };
  if (common.mode === 'robot' && !dependencies.features.automation) {
    throw new DomainError(
      'FEATURE_OFF',
      'Automation is switched off here (AUTOMATION_ENABLED=false): use mode "hand".',
    );
  }
  const sample = (reference: string) => resolveReference(db, actor.tenantId, 'sample', reference);
  const position = (choice: PositionChoice) =>
    resolvePosition(db, actor.tenantId, choice.location, choice.position);

  async function target(choice: TargetChoice | undefined): Promise<Target> {
    if (choice === undefined) return { kind: 'chosen', withinId: null };
    if ('location' in choice) return { kind: 'named', positionId: await position(choice) };
    return {
      kind: 'chosen',
      withinId: await resolveReference(db, actor.tenantId, 'location', choice.within),
    };
  }

  async function placement(
    sampleId: string,
    newSample: (NewSampleFields & { readonly barcode: string }) | null,
    fields: PlacementFields,
  ): Promise<ProcessRequest> {
    return {
      kind: 'placement',
      ...common,
      sampleId,
      order: {
        kind: 'placement',
        newSample: newSample && {
          barcode: newSample.barcode,
          type: newSample.type,
          project: newSample.project ?? null,
          zone: newSample.zone,
          ...traitsOf(newSample),
          ...lifeOf(newSample),
        },
        target: await target(fields.target),
        handoffPositionId: fields.handoff ? await position(fields.handoff) : null,
      },
      confirmation: fields.confirmation ? confirmationOf(c, fields.confirmation) : null,
    };
  }

  return {
    placementOfNew: async (newSample: NewSampleFields, fields: PlacementFields) => {
      const barcode = await barcodeFor(db, actor.tenantId, 'sample', newSample.barcode);
      if (barcode === null) throw withoutBarcode();
      return placement(uuidv7(), { ...newSample, barcode }, fields);
    },
    placementOf: async (reference: string, fields: PlacementFields) =>
      placement(await sample(reference), null, fields),
    async move(reference: string, choice: TargetChoice | undefined): Promise<ProcessRequest> {
      return {
        kind: 'move',
        ...common,
        sampleId: await sample(reference),
        order: { kind: 'move', target: await target(choice) },
        confirmation: null,
      };
    },
    async retrieval(reference: string, handoff: PositionChoice | undefined): Promise<ProcessRequest> {
      return {
        kind: 'retrieval',
        ...common,
        sampleId: await sample(reference),
        order: { kind: 'retrieval', handoffPositionId: handoff ? await position(handoff) : null },
        confirmation: null,
      };
    },
  };
}

// What is not said is left out: an order says no more than its caller did.
function traitsOf({ hazard, owner, quarantine, ...sample }: NewSampleFields) {
  return {
    ...(sample.class !== undefined && { class: sample.class }),
    ...(hazard !== undefined && { hazard }),
    ...(owner !== undefined && { owner }),
    ...(quarantine !== undefined && { quarantine }),
  };
}

function withoutBarcode(): DomainError {
  return new DomainError(
    'VALIDATION',
    'Give the tube a barcode: the laboratory has no scheme to make one by (PUT /storage/barcode-schemes/sample).',
    { errors: [{ pointer: '/barcode', detail: 'is missing' }] },
  );
}

function lifeOf({ subject, lot, expiresOn, quantity }: NewSampleFields): Pick<NewSample, 'life'> {
  if ([subject, lot, expiresOn, quantity].every((value) => value === undefined)) return {};
  return {
    life: {
      subject: subject ?? null,
      lot: lot ?? null,
      expiresOn: expiresOn ?? null,
      quantity: quantity ?? null,
    },
  };
}

/** A scan as the process takes it: who scanned comes from the token. */
export function confirmationOf(c: Context<ApiEnv>, scan: ScanRequest): Confirmation {
  return {
    actor: c.var.actor,
    sampleBarcode: scan.sampleBarcode,
    containerBarcode: scan.containerBarcode,
    position: scan.position,
    secondPersonId: scan.secondPersonId ?? null,
  };
}

import fc from 'fast-check';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canHold } from '../../db/can-hold.ts';
import { withChange } from '../../db/change.ts';
import { recordRegistered, registerSample } from '../../db/custody.ts';
import { releasePositions } from '../../db/handoff.ts';
import { editLocation, type LocationEdit } from '../../db/location-changes.ts';
import { findLocation } from '../../db/locations.ts';
import { type ReserveResult, reserveTarget } from '../../db/placement.ts';
import { needOf } from '../../db/sample-need.ts';
import { inTenant } from '../../db/tenancy.ts';
import {
  EXCLUSIVE_BY,
  judgeRules,
  type LocationRules,
  type SampleTraits,
} from '../../domain/location-rules.ts';
import type { Target } from '../../domain/order.ts';
import type { SampleNeed } from '../../domain/placement.ts';
import { addJob, addLocation, openStore, positionsOf, storeSample, type TestStore } from '../setup/store.ts';

let store: TestStore;
let site: string;
let count = 0;

beforeAll(async () => {
  store = await openStore(20);
  site = await addLocation(store, { type: 'site', name: 'Main' });
});
afterAll(() => store.lab.close());

const freezer = (rules: LocationRules = {}) =>
  addLocation(store, { type: 'freezer', name: `F${++count}`, parent: site, rules });
const box = (parent: string, rules: LocationRules = {}) =>
  addLocation(store, { type: 'box_5x5', name: `B${++count}`, parent, rules });
const need = (changes: Partial<SampleNeed> = {}): SampleNeed => ({
  zone: '-80',
  type: 'plasma',
  project: 'HEART',
  ...changes,
});
const within = (withinId: string): Target => ({ kind: 'chosen', withinId });

/** Reserves for a sample that is registered in the same transaction, as a placement does. */
async function reserve(target: Target, what: SampleNeed): Promise<ReserveResult> {
  const id = uuidv7();
  const jobId = await addJob(store, id);
  return withChange(store.db, { ...store.context, reason: 'placement' }, async (change) => {
    const sample = await registerSample(change, {
      ...what,
      barcode: `T-${id}`,
      tenantId: store.tenantId,
      id,
      holderId: store.actor.userId,
      jobId,
    });
    recordRegistered(change, sample);
    return reserveTarget(change.tx, store.tenantId, jobId, what, target, 60_000);
  });
}

async function edit(id: string, changes: Partial<LocationEdit>) {
  const location = await findLocation(store.db, store.tenantId, id);
  return editLocation(store.db, { ...store.context, reason: 'edit' }, id, location.version, {
    name: location.name,
    barcode: location.barcode,
    zone: location.zone,
    sampleTypes: location.sampleTypes,
    rules: location.ownRules,
    robotAddress: location.robotAddress,
    ...changes,
  });
}

describe('the database and the explanation judge alike', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const names = fc.option(fc.uniqueArray(name, { maxLength: 3 }), { nil: undefined });
  const traits: fc.Arbitrary<SampleTraits> = fc.record({
    type: name,
    project: fc.option(name),
    class: fc.option(name),
    hazard: fc.option(name),
    owner: fc.option(name),
    quarantine: fc.boolean(),
  });
  const anyRules: fc.Arbitrary<LocationRules> = fc
    .record({
      sampleClasses: names,
      projects: names,
      hazards: names,
      exclusive: fc.option(fc.uniqueArray(fc.constantFrom(...EXCLUSIVE_BY), { minLength: 1 }), {
        nil: undefined,
      }),
      quarantine: fc.constantFrom(undefined, true, false, 'any' as const),
    })
    .map((rules) => Object.fromEntries(Object.entries(rules).filter(([, value]) => value !== undefined)));

  test('for any sample, rules and content', async () => {
    await fc.assert(
      fc.asyncProperty(traits, anyRules, fc.option(traits), async (sample, rules, held) => {
        const { rows } = await inTenant(store.db, store.tenantId, (tx) =>
          sql<{ accepted: boolean; alike: boolean }>`
            SELECT rules_accept(${JSON.stringify(rules)}::jsonb, ${needOf(sample)}) AS accepted,
              exclusive_accepts(${JSON.stringify(rules)}::jsonb, ${held === null ? sql`NULL` : needOf(held)},
                ${needOf(sample)}) AS alike`.execute(tx),
        );
        const verdicts = judgeRules(sample, rules, held);
        const passed = (exclusive: boolean) =>
          verdicts
            .filter(({ rule }) => (rule === 'exclusive') === exclusive)
            .every((verdict) => verdict.passed);
        expect(rows[0]).toEqual({ accepted: passed(false), alike: passed(true) });
      }),
      { numRuns: 300 },
    );
  }, 60_000);

  test('what is inherited is never wider than the place above', async () => {
    await fc.assert(
      fc.asyncProperty(anyRules, anyRules, traits, async (own, inherited, sample) => {
        fc.pre(own.quarantine !== 'any' && inherited.quarantine === undefined);
        const { rows } = await inTenant(store.db, store.tenantId, (tx) =>
          sql<{ below: boolean; above: boolean; own: boolean }>`
            SELECT rules_accept(inherit_rules(o, i), n) AS below, rules_accept(i, n) AS above, rules_accept(o, n) AS own
            FROM (SELECT ${JSON.stringify(own)}::jsonb AS o, ${JSON.stringify({ ...inherited, quarantine: own.quarantine })}::jsonb AS i,
                         ${needOf(sample)} AS n) x`.execute(tx),
        );
        const row = rows[0];
        expect(row?.below).toBe(row?.above && row?.own);
      }),
      { numRuns: 200 },
    );
  }, 60_000);
});

describe('each rule holds for a choice and for a position that was named, and is inherited', () => {
  test.each<[string, LocationRules, Partial<SampleNeed>, Partial<SampleNeed>, RegExp]>([
    [
      'class',
      { sampleClasses: ['blood'] },
      { class: 'blood' },
      { class: 'tissue' },
      /for class blood, not for tissue/,
    ],
    ['class', { sampleClasses: ['blood'] }, { class: 'blood' }, {}, /not for one without class/],
    ['project', { projects: ['HEART'] }, {}, { project: 'LUNG' }, /for project HEART, not for LUNG/],
    ['hazard', { hazards: ['BSL-1'] }, {}, { hazard: 'BSL-3' }, /for hazard BSL-1, not for BSL-3/],
    ['quarantine', { quarantine: true }, { quarantine: true }, {}, /the sample is not in quarantine/],
    ['quarantine', {}, {}, { quarantine: true }, /it is no place of quarantine/],
  ])('%s', async (rule, rules, good, bad, detail) => {
    const unit = await freezer(rules);
    const place = await box(unit);
    const [first] = await positionsOf(store, place);
    for (const target of [
      within(unit),
      within(place),
      { kind: 'named', positionId: String(first) } as const,
    ]) {
      const result = await reserve(target, need(bad));
      if (result.outcome === 'reserved') throw new Error(`reserved ${result.position.label}`);
      // A box of no quarantine below a freezer that is none is what makes the freezer full.
      expect(result.refusal.code).toBe('RULE_NOT_MET');
      expect(result.refusal.detail).toMatch(detail);
      expect(result.refusal.facts).toMatchObject({ rule });
    }
    expect(await reserve(within(unit), need(good))).toMatchObject({ outcome: 'reserved' });
  });

  test('a box narrows what its freezer takes, and does not widen it', async () => {
    const unit = await freezer({ projects: ['HEART', 'LUNG'] });
    const place = await box(unit, { projects: ['LUNG', 'SKIN'] });
    expect((await findLocation(store.db, store.tenantId, place)).rules.projects).toEqual(['LUNG']);
    expect((await reserve(within(place), need({ project: 'SKIN' }))).outcome).toBe('refused');
    expect((await reserve(within(place), need({ project: 'LUNG' }))).outcome).toBe('reserved');
    await edit(unit, { rules: {} });
    expect((await reserve(within(place), need({ project: 'SKIN' }))).outcome).toBe('reserved');
  });
});

describe('one project to a box', () => {
  test('the first decides; the next goes elsewhere or is told who is there', async () => {
    const unit = await freezer({ exclusive: ['project'] });
    const [one, two] = [await box(unit), await box(unit)];
    expect(await reserve(within(unit), need())).toMatchObject({ position: { containerId: one } });
    expect(await reserve(within(unit), need({ project: 'LUNG' }))).toMatchObject({
      position: { containerId: two },
    });
    expect(await reserve(within(unit), need())).toMatchObject({ position: { containerId: one } });
    const refused = await reserve(within(unit), need({ project: 'SKIN' }));
    expect(refused).toMatchObject({ outcome: 'refused', refusal: { code: 'NO_POSITION_FREE' } });
    const free = (await positionsOf(store, one)).at(-1);
    expect(
      await reserve({ kind: 'named', positionId: String(free) }, need({ project: 'SKIN' })),
    ).toMatchObject({
      refusal: {
        code: 'RULE_NOT_MET',
        detail: expect.stringContaining('one project to a container: it holds HEART, not SKIN'),
      },
    });
  });

  test('two kinds do not become the first at once', async () => {
    const unit = await freezer({ exclusive: ['project'] });
    const place = await box(unit);
    const results = await Promise.all(
      Array.from({ length: 16 }, (_, n) =>
        reserve(within(place), need({ project: n % 2 === 0 ? 'EVEN' : 'ODD' })),
      ),
    );
    const won = results.flatMap((result, n) => (result.outcome === 'reserved' ? [n % 2] : []));
    expect(won).toHaveLength(8);
    expect(new Set(won).size).toBe(1);
  }, 30_000);

  test('what lies in the box decides, not what was noted of it', async () => {
    const place = await box(await freezer({ exclusive: ['project'] }));
    const [first, second, third] = await positionsOf(store, place);
    await storeSample(store, { barcode: `X-${++count}`, positionId: String(first), project: 'SKIN' });
    for (const target of [within(place), { kind: 'named', positionId: String(second) } as const]) {
      expect((await reserve(target, need())).outcome).toBe('refused');
    }
    expect(await reserve(within(place), need({ project: 'SKIN' }))).toMatchObject({
      position: { positionId: second },
    });
    expect(third).toBeDefined();
  });

  test('an empty box is for anybody again', async () => {
    const place = await box(await freezer({ exclusive: ['project'] }));
    const first = await reserve(within(place), need());
    if (first.outcome !== 'reserved') throw new Error('refused');
    const { rows } = await inTenant(store.db, store.tenantId, (tx) =>
      sql<{
        job_id: string;
      }>`SELECT job_id FROM position WHERE tenant_id = ${store.tenantId} AND id = ${first.position.positionId}`.execute(
        tx,
      ),
    );
    await inTenant(store.db, store.tenantId, (tx) =>
      releasePositions(tx, store.tenantId, String(rows[0]?.job_id)),
    );
    expect((await reserve(within(place), need({ project: 'LUNG' }))).outcome).toBe('reserved');
  });
});

describe('a rule change', () => {
  test('is held against what is inside and names the first offender', async () => {
    const unit = await freezer();
    const place = await box(unit);
    const positions = await positionsOf(store, place);
    for (const [n, project] of ['HEART', 'HEART', 'LUNG', 'SKIN'].entries()) {
      await storeSample(store, { barcode: `R-${count}-${n}`, positionId: String(positions[n]), project });
    }
    await expect(edit(unit, { rules: { projects: ['HEART'] } })).rejects.toMatchObject({
      code: 'RULE_BROKEN_BY_CONTENT',
      detail: expect.stringContaining(`R-${count}-2 in position A3`),
      facts: { barcode: `R-${count}-2`, position: 'A3' },
    });
    await expect(edit(place, { rules: { exclusive: ['project'] } })).rejects.toMatchObject({
      code: 'RULE_BROKEN_BY_CONTENT',
      facts: { barcode: `R-${count}-2`, position: 'A3' },
    });
    await expect(edit(unit, { rules: { quarantine: true } })).rejects.toMatchObject({
      facts: { position: 'A1' },
    });
    expect((await findLocation(store.db, store.tenantId, unit)).ownRules).toEqual({});
    await edit(place, { rules: { exclusive: ['type'] } });
    expect((await reserve(within(place), need({ type: 'serum' }))).outcome).toBe('refused');
    expect((await reserve(within(place), need())).outcome).toBe('reserved');
  });
});

describe('can it hold?', () => {
  test('answers rule by rule and changes nothing', async () => {
    const unit = await freezer({ hazards: ['BSL-1'], exclusive: ['project'] });
    const place = await box(unit);
    const ask = (id: string, what: Partial<SampleNeed>) => canHold(store.db, store.tenantId, id, need(what));
    const before = await findLocation(store.db, store.tenantId, place);
    expect(await ask(place, { hazard: 'BSL-3', zone: '4' })).toMatchObject({
      canHold: false,
      position: null,
      rules: [
        { rule: 'in_service', passed: true },
        { rule: 'temperature', passed: false },
        { rule: 'type', passed: true },
        { rule: 'hazard', passed: false, detail: 'it is for hazard BSL-1, not for BSL-3' },
        { rule: 'capacity', passed: true },
      ],
    });
    expect(await ask(place, { hazard: 'BSL-1' })).toMatchObject({ canHold: true, position: { label: 'A1' } });
    expect(await ask(unit, {})).toMatchObject({ canHold: true, position: { containerId: place } });
    expect(await ask(unit, { hazard: 'BSL-3' })).toMatchObject({ canHold: false, position: null });
    await reserve(within(place), need());
    expect(await ask(place, { project: 'LUNG' })).toMatchObject({
      canHold: false,
      rules: expect.arrayContaining([expect.objectContaining({ rule: 'exclusive', passed: false })]),
    });
    expect(await ask(unit, { project: 'LUNG' })).toMatchObject({ canHold: false });
    expect((await findLocation(store.db, store.tenantId, place)).version).toBe(before.version);
  });
});

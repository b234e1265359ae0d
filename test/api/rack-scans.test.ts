import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inTenant } from '../../db/tenancy.ts';
import { type ApiReply, type ApiRequest, openApi, type TestApi } from '../setup/api.ts';
import { addJob, addLocation, positionsOf, storeSample, takeOut } from '../setup/store.ts';

let api: TestApi;
let freezer: string;
let count = 0;

beforeAll(async () => {
  api = await openApi();
  const site = await addLocation(api.store, { type: 'site', name: 'Main' });
  freezer = await addLocation(api.store, { type: 'freezer', name: 'F1', parent: site });
});
afterAll(() => api.close());

async function must(status: number, request: ApiRequest): Promise<ApiReply['body']> {
  const reply = await api.send(request);
  expect([reply.status, reply.body]).toEqual([status, expect.anything()]);
  return reply.body;
}

interface Rack {
  readonly id: string;
  readonly name: string;
  readonly barcode: string;
  readonly positions: readonly string[];
  /** ids by barcode */
  readonly samples: Readonly<Record<string, string>>;
}

/** A rack of 96 with these tubes, by ordinal from 1; every barcode gets the rack's number in front. */
async function rack(tubes: Readonly<Record<number, string>> = {}, type = 'rack_96'): Promise<Rack> {
  const name = `R${++count}`;
  const barcode = `RACK-${name}`;
  const id = await addLocation(api.store, { type, name, parent: freezer, barcode });
  const positions = await positionsOf(api.store, id);
  const samples: Record<string, string> = {};
  for (const [ordinal, tube] of Object.entries(tubes)) {
    const positionId = positions[Number(ordinal) - 1] ?? '';
    samples[tube] = await storeSample(api.store, { barcode: `${name}-${tube}`, positionId });
  }
  return { id, name, barcode, positions, samples };
}

/** The text of a scan of a whole rack: these tubes, and nothing elsewhere. */
function whole(of: Rack, read: Readonly<Record<string, string>>): string {
  const lines: string[] = [];
  for (const row of 'ABCDEFGH') {
    for (let column = 1; column <= 12; column++) {
      const word = read[`${row}${column}`] ?? 'EMPTY';
      lines.push(`${row}${column},${/^T\d+$/.test(word) ? `${of.name}-${word}` : word}`);
    }
  }
  return lines.join('\n');
}

const scan = (of: Rack, read: Readonly<Record<string, string>>, changes: Record<string, unknown> = {}) =>
  must(201, {
    path: '/storage/rack-scans',
    json: { location: of.barcode, text: whole(of, read), ...changes },
  });
const apply = (id: string, json: Record<string, unknown> = {}) =>
  must(200, { path: `/storage/rack-scans/${id}/apply`, json });

async function refusal(status: number, code: string, request: ApiRequest): Promise<string> {
  const body = await must(status, request);
  expect(body).toMatchObject({ code });
  return `${body.detail} ${JSON.stringify(body.errors ?? [])}`;
}

/** Where the record has a sample. */
async function where(id: string | undefined) {
  const sample = await must(200, { path: `/storage/samples/${id}` });
  return {
    custody: sample.custody,
    position: sample.position?.label ?? sample.position,
    witness: sample.witness,
  };
}

async function labelOf(sampleId: string | undefined): Promise<string | null> {
  const { rows } = await inTenant(api.lab.app, api.lab.tenantId, (tx) =>
    sql<{ ordinal: number }>`SELECT p.ordinal FROM position p JOIN sample s ON s.tenant_id = p.tenant_id
      AND s.position_id = p.id WHERE s.id = ${sampleId ?? null}`.execute(tx),
  );
  const ordinal = rows[0]?.ordinal;
  return ordinal === undefined
    ? null
    : `${'ABCDEFGH'[Math.floor((ordinal - 1) / 12)]}${((ordinal - 1) % 12) + 1}`;
}

/** Counters of the rack beside a count. */
async function audited(of: Rack): Promise<boolean> {
  const { rows } = await inTenant(api.lab.app, api.lab.tenantId, (tx) =>
    sql<{ same: boolean }>`SELECT (c.occupied, c.blocked, c.reserved) = (
        count(*) FILTER (WHERE p.state = 'occupied'), count(*) FILTER (WHERE p.state = 'blocked'),
        count(*) FILTER (WHERE p.state = 'reserved')) AS same
      FROM location_count c JOIN position p ON p.tenant_id = c.tenant_id AND p.container_id = c.location_id
      WHERE c.location_id = ${of.id} GROUP BY c.occupied, c.blocked, c.reserved`.execute(tx),
  );
  return rows[0]?.same ?? false;
}

const diffOf = (body: ApiReply['body'], position: string) =>
  body.diff.positions.find((each: { position: string }) => each.position === position);

describe('a rack scan', () => {
  test('says what differs, across all boxes, keeps unread tubes, and changes nothing', async () => {
    const other = await rack({ 1: 'T9' });
    const box = await rack({ 1: 'T1', 2: 'T2', 3: 'T3', 4: 'T4' });
    const loose = await rack({ 1: 'T8' });
    await takeOut(api.store, loose.samples.T8 ?? '');
    const body = await scan(box, {
      A1: 'T1',
      A3: 'T2',
      A4: 'NO READ',
      B1: `${other.name}-T9`,
      B2: `${loose.name}-T8`,
      B3: 'NOBODYS',
      B4: other.barcode,
    });
    expect(body).toMatchObject({ state: 'open', location: `${box.name} in F1`, version: 1 });
    expect(body.diff).toMatchObject({ rotated: false, absent: 1 });
    expect(body.diff.counts).toMatchObject({ match: 1, moved: 1, unread: 1, elsewhere: 2, unknown: 2 });
    expect(diffOf(body, 'A3')).toMatchObject({
      verdict: 'moved',
      tube: { recorded: { position: 'A2' } },
      absent: { sampleId: box.samples.T3 },
    });
    expect(diffOf(body, 'B1')).toMatchObject({
      verdict: 'elsewhere',
      tube: { recorded: { location: `${other.name} in F1`, position: 'A1' } },
    });
    expect(diffOf(body, 'B2')).toMatchObject({ verdict: 'elsewhere', tube: { custody: 'person' } });
    expect(diffOf(body, 'B4')).toMatchObject({ verdict: 'unknown', barcodeOf: 'location' });
    expect(await labelOf(box.samples.T2)).toBe('A2');
    expect(await must(200, { path: `/storage/rack-scans/${body.id}` })).toEqual(body);
  });

  test('is superseded by the next of the same rack, which alone can be applied', async () => {
    const box = await rack({ 1: 'T1' });
    const first = await scan(box, { A1: 'NO READ' });
    const second = await scan(box, { A1: 'T1' });
    expect(await must(200, { path: `/storage/rack-scans/${first.id}` })).toMatchObject({
      state: 'superseded',
      supersededBy: second.id,
    });
    const told = await refusal(409, 'CONFLICT', { path: `/storage/rack-scans/${first.id}/apply`, json: {} });
    expect(told).toContain(`apply scan ${second.id}`);
    const listed = await must(200, { path: `/storage/rack-scans?location=${box.barcode}&limit=1` });
    expect(listed.scans.map((each: { id: string }) => each.id)).toEqual([second.id]);
    const next = await must(200, {
      path: `/storage/rack-scans?location=${box.barcode}&limit=1&cursor=${listed.nextCursor}`,
    });
    expect(next.scans[0]).toMatchObject({ id: first.id, state: 'superseded' });
    expect(next).not.toHaveProperty('nextCursor');
    await apply(second.id);
    expect(
      await refusal(409, 'CONFLICT', { path: `/storage/rack-scans/${second.id}/apply`, json: {} }),
    ).toMatch(/was applied by user/);
  });

  test('finds its rack by the barcode in it, and says when that is another', async () => {
    const box = await rack({ 1: 'T1' });
    const other = await rack();
    const text = `${box.barcode},A1,${box.name}-T1`;
    const json = { profile: 'three_columns', text };
    expect(await must(201, { path: '/storage/rack-scans', json })).toMatchObject({ locationId: box.id });
    expect(
      await refusal(409, 'BARCODE_MISMATCH', {
        path: '/storage/rack-scans',
        json: { ...json, location: other.barcode },
      }),
    ).toContain(`The scan is of ${box.name} in F1, not of Rack 96 ${other.name}`);
    expect(
      await refusal(422, 'VALIDATION', { path: '/storage/rack-scans', json: { text: 'A1,T1' } }),
    ).toContain('Name the box');
  });

  test('sent twice with a key is one', async () => {
    const box = await rack();
    const request = {
      path: '/storage/rack-scans',
      json: { location: box.barcode, text: whole(box, {}) },
      headers: { 'idempotency-key': uuidv7() },
    };
    const first = await must(201, request);
    expect(await must(201, request)).toEqual(first);
  });
});

describe('applied, a scan', () => {
  test('takes a spilled box in its new order, in one go, and confirms what was only asserted', async () => {
    const box = await rack({ 1: 'T1', 2: 'T2', 3: 'T3', 4: 'T4' });
    const body = await scan(box, { A1: 'T2', A2: 'T3', A3: 'T1', A4: 'T4' });
    const applied = await apply(body.id);
    expect(applied).toMatchObject({
      state: 'applied',
      applied: { placed: 3, confirmed: 1, lost: 0, blocked: 0, deviations: [], turned: false },
    });
    expect(await Promise.all(['T1', 'T2', 'T3', 'T4'].map((each) => labelOf(box.samples[each])))).toEqual([
      'A3',
      'A1',
      'A2',
      'A4',
    ]);
    for (const id of Object.values(box.samples)) expect((await where(id)).witness).toBe('barcode');
    const { entries } = await must(200, { path: `/storage/samples/${box.samples.T1}/timeline` });
    expect(entries.at(-1)).toMatchObject({ type: 'storage.sample.verified', reason: 'correction' });
    expect(await audited(box)).toBe(true);
    const again = await scan(box, { A1: 'T2', A2: 'T3', A3: 'T1', A4: 'T4' });
    expect(again.diff.counts.match).toBe(4);
  });

  test('takes all 96 tubes of a rack in any order', async () => {
    const labels = [...'ABCDEFGH'].flatMap((row) => Array.from({ length: 12 }, (_, i) => `${row}${i + 1}`));
    const box = await rack(Object.fromEntries(labels.map((_, index) => [index + 1, `T${index + 1}`])));
    // A bijection, since 35 and 96 have no common factor, that leaves no tube where it was: 34 i + 7 is odd.
    const order = labels.map((_, index) => labels[(index * 35 + 7) % 96] ?? '');
    const read = Object.fromEntries(order.map((label, index) => [label, `T${index + 1}`]));
    const { applied } = await apply((await scan(box, read)).id);
    expect(applied.placed + applied.confirmed).toBe(96);
    const stands = await Promise.all(order.map((_, index) => labelOf(box.samples[`T${index + 1}`])));
    expect(stands).toEqual(order);
    expect(await audited(box)).toBe(true);
  });

  test('fetches tubes from other boxes and hands, and frees where they were recorded', async () => {
    const other = await rack({ 1: 'T9' });
    const box = await rack({ 1: 'T1', 2: 'T8' });
    await takeOut(api.store, box.samples.T8 ?? '');
    const body = await scan(box, { A1: 'T1', A5: `${other.name}-T9`, A6: 'T8' });
    await apply(body.id);
    expect(await labelOf(other.samples.T9)).toBe('A5');
    expect(await labelOf(box.samples.T8)).toBe('A6');
    const emptied = await must(200, { path: `/storage/locations/${other.id}/capacity` });
    expect(emptied).toMatchObject({ occupied: 0, free: 96 });
    expect(await audited(other)).toBe(true);
  });

  test('opens a deviation each time: of two racks, and of a tube that was lost again', async () => {
    const [one, two] = [await rack({ 1: 'T1' }), await rack({ 1: 'T1' })];
    for (const box of [one, two]) {
      const applied = await apply((await scan(box, { A1: 'T1', A2: `STRANGER-${box.name}` })).id);
      expect(applied.applied.deviations).toHaveLength(1);
    }
    const three = await rack({ 1: 'T1' });
    for (const found of [{}, { A1: 'T1' }, {}] as Readonly<Record<string, string>>[]) {
      const { applied } = await apply((await scan(three, found)).id);
      expect(applied.deviations).toHaveLength('A1' in found ? 0 : 1);
    }
  });

  test('makes UNKNOWN what is not there, with candidates and a deviation, and knows it again later', async () => {
    const box = await rack({ 1: 'T1', 2: 'T2' });
    const applied = await apply((await scan(box, { A2: 'T2', A3: 'NO READ' })).id);
    expect(applied.applied).toMatchObject({ lost: 1, blocked: 1, deviations: [expect.any(String)] });
    const lost = await must(200, { path: `/storage/samples/${box.samples.T1}/location` });
    expect(lost.custody).toEqual({
      kind: 'unknown',
      candidates: [{ kind: 'position', positionId: box.positions[2] }],
    });
    const { deviations } = await must(200, {
      path: `/automation/deviations?sample=${box.samples.T1}`,
    });
    expect(deviations[0]).toMatchObject({ kind: 'inventory_missing', facts: { rack_scan_id: applied.id } });
    expect(deviations[0].description).toMatch(/did not find the tube in A1 .* one of 1 positions/);
    // The unread one is in nobody's way until a scan reads it.
    const capacity = await must(200, { path: `/storage/locations/${box.id}/capacity` });
    expect(capacity).toMatchObject({ occupied: 1, blocked: 1 });
    const found = await scan(box, { A2: 'T2', A3: 'T1' });
    expect(found.diff.counts).toMatchObject({ found: 1, match: 1 });
    expect((await apply(found.id)).applied).toMatchObject({ placed: 1, blocked: 0 });
    expect(await labelOf(box.samples.T1)).toBe('A3');
    expect(await must(200, { path: `/storage/locations/${box.id}/capacity` })).toMatchObject({
      occupied: 2,
      blocked: 0,
    });
    expect(await audited(box)).toBe(true);
  });

  test('blocks positions with tubes nobody knows, and opens one deviation for all of them', async () => {
    const box = await rack();
    const applied = await apply((await scan(box, { C1: 'X1', C2: 'X2', C3: 'X2' })).id);
    expect(applied.applied).toMatchObject({ blocked: 3, deviations: [expect.any(String)] });
    const map = await must(200, { path: `/storage/locations/${box.id}/map` });
    expect(map.cells[24]).toMatchObject({ label: 'C1', state: 'blocked' });
    expect((await apply((await scan(box, {})).id)).applied).toMatchObject({ deviations: [] });
    expect(await must(200, { path: `/storage/locations/${box.id}/capacity` })).toMatchObject({ free: 96 });
  });

  test('tells of a tube that stands too warm, and its clock runs', async () => {
    const room = await addLocation(api.store, { type: 'site', name: `S${++count}` });
    const fridge = await addLocation(api.store, { type: 'freezer', name: 'Fridge', parent: room, zone: '4' });
    const warm = await addLocation(api.store, {
      type: 'rack_96',
      name: 'W',
      parent: fridge,
      barcode: 'WARM',
    });
    const box = await rack({ 1: 'T1' });
    const text = `A1,${box.name}-T1`;
    const body = await must(201, { path: '/storage/rack-scans', json: { location: 'WARM', text } });
    const { applied } = await apply(body.id);
    const { deviations } = await must(200, { path: '/automation/deviations?kind=inventory_moved' });
    expect(deviations).toMatchObject([{ id: applied.deviations[0], sampleId: box.samples.T1 }]);
    const { rows } = await inTenant(api.lab.app, api.lab.tenantId, (tx) =>
      sql<{ warm: boolean; container_id: string }>`SELECT s.warm_since IS NOT NULL AS warm, p.container_id
        FROM sample s JOIN position p ON p.id = s.position_id WHERE s.id = ${box.samples.T1 ?? ''}`.execute(
        tx,
      ),
    );
    expect(rows).toEqual([{ warm: true, container_id: warm }]);
  });

  test('of a turned rack asks which way it lay, and goes by the answer', async () => {
    const tubes = { 1: 'T1', 2: 'T2', 3: 'T3' };
    const turned = { H12: 'T1', H11: 'T2', H10: 'T3' };
    const box = await rack(tubes);
    const body = await scan(box, turned);
    expect(body.diff.rotated).toBe(true);
    expect(
      await refusal(409, 'CONFLICT', { path: `/storage/rack-scans/${body.id}/apply`, json: {} }),
    ).toMatch(/turned by 180°.*orientation/);
    expect((await apply(body.id, { orientation: 'turned' })).applied).toMatchObject({
      turned: true,
      placed: 0,
      confirmed: 3,
    });
    const really = await rack(tubes);
    await apply((await scan(really, turned)).id, { orientation: 'as_scanned' });
    expect(await labelOf(really.samples.T1)).toBe('H12');
  });

  test('of a rack of another size, or of another box, wants that confirmed', async () => {
    const box = await rack({ 1: 'T1' });
    const small = Array.from({ length: 48 }, (_, i) => `${'ABCDEF'[Math.floor(i / 8)]}${(i % 8) + 1}`);
    const text = small.map((label) => `${label},${label === 'A1' ? `${box.name}-T1` : 'EMPTY'}`).join('\n');
    const json = { location: box.barcode, text };
    const body = await must(201, { path: '/storage/rack-scans', json });
    expect(body.diff).toMatchObject({ wrongSize: { rows: 6, columns: 8 }, counts: { not_scanned: 48 } });
    const path = `/storage/rack-scans/${body.id}/apply`;
    expect(await refusal(409, 'CONFLICT', { path, json: {} })).toContain('6 rows and 8 columns');
    expect((await apply(body.id, { confirm: ['wrong_size'] })).applied.confirmed).toBe(1);
    const wrong = await rack();
    const other = await scan(wrong, { A1: `${box.name}-T1`, A2: 'NOBODYS' });
    expect(other.diff).not.toHaveProperty('otherBox');
    const two = await rack({ 1: 'T1', 2: 'T2' });
    const swapped = await scan(wrong, { A1: `${two.name}-T1`, A2: `${two.name}-T2` });
    expect(swapped.diff.otherBox).toMatchObject({ locationId: two.id, tubes: 2 });
    const swappedPath = `/storage/rack-scans/${swapped.id}/apply`;
    expect(await refusal(409, 'CONFLICT', { path: swappedPath, json: {} })).toContain('scan the right box');
  });

  test('is refused when the box, or a tube that was read in it, has changed since', async () => {
    const box = await rack({ 1: 'T1', 2: 'T2' });
    const body = await scan(box, { A2: 'T1', A1: 'T2' });
    await takeOut(api.store, box.samples.T1 ?? '');
    const told = await refusal(412, 'PRECONDITION_FAILED', {
      path: `/storage/rack-scans/${body.id}/apply`,
      json: {},
    });
    expect(told).toMatch(/position A1 was occupied and is free now.*: scan it again/);
    expect(await labelOf(box.samples.T2)).toBe('A2');
  });

  test('leaves to jobs what they hold, by name, and does nothing half', async () => {
    const box = await rack({ 1: 'T1', 2: 'T2', 3: 'T3' });
    const job = await addJob(api.store, box.samples.T1);
    await inTenant(api.lab.app, api.lab.tenantId, (tx) =>
      sql`UPDATE sample SET job_id = ${job} WHERE id = ${box.samples.T1 ?? ''}`.execute(tx),
    );
    const moved = await scan(box, { A5: 'T1', A6: 'T2', A3: 'T3' });
    const path = `/storage/rack-scans/${moved.id}/apply`;
    expect(await refusal(409, 'SAMPLE_BUSY', { path, json: {} })).toContain(`belongs to job ${job}`);
    expect(await labelOf(box.samples.T2)).toBe('A2');
    // A scan that leaves the job's tube where it is may be applied.
    await apply((await scan(box, { A1: 'T1', A6: 'T2', A3: 'T3' })).id);
    expect(await labelOf(box.samples.T2)).toBe('A6');
  });

  test('by two people at once is applied once', async () => {
    const box = await rack({ 1: 'T1', 2: 'T2' });
    const body = await scan(box, { A2: 'T1', A1: 'T2' });
    const request = { path: `/storage/rack-scans/${body.id}/apply`, json: {} };
    const replies = await Promise.all(Array.from({ length: 5 }, () => api.send(request)));
    expect(replies.map((reply) => reply.status).sort()).toEqual([200, 409, 409, 409, 409]);
  });
});

describe('what a tired person sends', () => {
  const base64 = (text: string, encoding: BufferEncoding) => Buffer.from(text, encoding).toString('base64');
  test.each<[string, (box: Rack) => Record<string, unknown>, RegExp]>([
    ['Latin-1', () => ({ fileBase64: base64('A1,T1\nA2,Tü', 'latin1') }), /line 2, column 5: .*Latin-1/],
    ['UTF-16 as text', () => ({ text: 'A\u00001\u0000' }), /line 1, column 2: .*UTF-16/],
    ['semicolons', () => ({ text: 'A1;T1\nA2;T2' }), /line 1, column 1: .*semicolons/],
    [
      'merged headers',
      () => ({ profile: 'easyblood', text: 'Box 7,,,\nRackID,TPositionID,x,TTubeBC,y' }),
      /line 1, column 1: the header should name the column “RackID” once/,
    ],
    [
      'a position twice',
      () => ({ text: 'A1,T1\na01,T2' }),
      /line 2, column 1: position A1 is in line 1 already/,
    ],
    ['an empty file', () => ({ text: '\n\n' }), /there is not one position in it/],
    ['a formula', () => ({ text: 'A1,=HYPERLINK("x")' }), /^never$/],
    [
      'half a line of a scanner',
      () => ({ profile: 'visionmate', text: 'A,B,C,' }),
      /should have 96 barcodes/,
    ],
    [
      'a profile nobody has',
      () => ({ profile: 'mine', text: 'A1,T1' }),
      /there are biomicrolab_xl20, dp5_mirage/,
    ],
    ['nothing', () => ({}), /exactly one of text, fileBase64 and positions/],
    ['both', () => ({ text: 'A1,T1', positions: [{ position: 'A1', barcode: 'T1' }] }), /exactly one of/],
    [
      'a list with both',
      () => ({ positions: [{ position: 'A1', barcode: 'T', read: 'empty' }] }),
      /either a barcode/,
    ],
    ['no base64', () => ({ fileBase64: 'ä' }), /base64/],
  ])('%s is answered with a sentence', async (what, json, detail) => {
    const box = await rack();
    const reply = await api.send({
      path: '/storage/rack-scans',
      json: { location: box.barcode, ...json(box) },
    });
    if (what === 'a formula') {
      // It is a barcode like any other: nobody has it.
      expect([reply.status, reply.body.diff.counts.unknown]).toEqual([201, 1]);
      return;
    }
    expect(reply.status).toBe(422);
    expect(JSON.stringify(reply.body)).toMatch(detail);
  });

  test('a mark and UTF-16 are read for what they are; half a rack is half a rack', async () => {
    const box = await rack({ 1: 'T1', 96: 'T2' });
    const text = `\uFEFFA1,${box.name}-T1`;
    for (const encoding of ['utf8', 'utf16le'] as const) {
      const body = await must(201, {
        path: '/storage/rack-scans',
        json: { location: box.barcode, fileBase64: base64(text, encoding) },
      });
      expect(body.diff.counts).toMatchObject({ match: 1, not_scanned: 95, missing: 0 });
    }
  });

  test('a list works as a file does', async () => {
    const box = await rack({ 1: 'T1' });
    const positions = [
      { position: 'A1', barcode: `${box.name}-T1` },
      { position: 'A2', read: 'unread' },
    ];
    const body = await must(201, { path: '/storage/rack-scans', json: { location: box.id, positions } });
    expect(body.diff.counts).toMatchObject({ match: 1, unread: 1 });
  });

  test('a location without positions, or a retired one, is none to scan', async () => {
    const json = { location: freezer, text: 'A1,T1' };
    expect(await refusal(422, 'POSITION_UNKNOWN', { path: '/storage/rack-scans', json })).toContain(
      'no positions',
    );
  });
});

describe('scanner profiles', () => {
  test('are presets until the laboratory sets its own, which scans then go by', async () => {
    const { profiles } = await must(200, { path: '/storage/scanner-profiles' });
    expect(profiles.map((each: { code: string }) => each.code)).toEqual([
      'biomicrolab_xl20',
      'dp5_mirage',
      'easyblood',
      'three_columns',
      'two_columns',
      'visionmate',
      'ziath_datapaq',
    ]);
    const json = {
      name: 'Ours',
      format: 'table',
      delimiter: ';',
      width: 2,
      unread: ['???'],
      columns: { position: 2, barcode: 1 },
    };
    const put = (version: string, changes = {}) =>
      api.send({
        method: 'PUT',
        path: '/storage/scanner-profiles/ours',
        json: { ...json, ...changes },
        headers: { 'if-match': version },
      });
    expect(await put('0')).toMatchObject({ status: 200, body: { code: 'ours', version: 1 } });
    expect(await put('0')).toMatchObject({ status: 412 });
    expect(await put('"1"', { name: 'Ours too' })).toMatchObject({ body: { name: 'Ours too', version: 2 } });
    expect((await put('2', { headerLines: 0, width: undefined })).body.detail).toContain('no header');
    expect((await put('2', { columns: { position: 'Pos', barcode: 1 } })).body.detail).toContain('no header');
    const box = await rack({ 1: 'T1' });
    const text = `${box.name}-T1;A1\n???;A2`;
    const body = await must(201, {
      path: '/storage/rack-scans',
      json: { location: box.barcode, profile: 'ours', text },
    });
    expect(body.diff.counts).toMatchObject({ match: 1, unread: 1 });
    const listed = await must(200, { path: '/storage/scanner-profiles' });
    expect(listed.profiles).toContainEqual(expect.objectContaining({ code: 'ours', version: 2 }));
  });
});

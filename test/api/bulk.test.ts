import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCsv } from '../../api/sheets/csv.ts';
import { writeXlsx } from '../../api/sheets/write.ts';
import { readXlsx } from '../../api/sheets/xlsx.ts';
import { applyOperation } from '../../db/bulk-run.ts';
import { checkLedger } from '../../db/ledger.ts';
import { inTenant } from '../../db/tenancy.ts';
import { type ApiReply, type ApiRequest, openApi, type TestApi } from '../setup/api.ts';
import { addLocation, positionsOf, storeSample, wrongCounters } from '../setup/store.ts';

const XLSX = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet';
let api: TestApi;
let freezer: string;
let warmer: string;
let count = 0;

beforeAll(async () => {
  api = await openApi();
  const site = await addLocation(api.store, { type: 'site', name: 'Main' });
  freezer = await addLocation(api.store, { type: 'freezer', name: 'F1', parent: site, barcode: 'FREEZER-1' });
  warmer = await addLocation(api.store, { type: 'freezer', name: 'F2', parent: site, zone: '-20' });
});
afterAll(async () => {
  expect(await wrongCounters(api.store)).toEqual([]);
  expect(await checkLedger(api.store.db, api.store.tenantId)).toMatchObject({ ok: true, firstFault: null });
  await api.close();
});

async function must(status: number, request: ApiRequest): Promise<ApiReply> {
  const reply = await api.send(request);
  expect([reply.status, reply.body]).toEqual([status, expect.anything()]);
  return reply;
}
async function newBox(changes: Record<string, unknown> = {}): Promise<{ id: string; barcode: string }> {
  count += 1;
  const barcode = `BOX-${count}`;
  return {
    id: await addLocation(api.store, {
      type: 'box_9x9',
      name: `B${count}`,
      parent: freezer,
      barcode,
      ...changes,
    }),
    barcode,
  };
}
const send = async (status: number, query: string, text: string, headers: Record<string, string> = {}) =>
  (
    await must(status, {
      method: 'POST',
      path: `/storage/imports?${query}`,
      text,
      headers: { 'content-type': 'text/csv', ...headers },
    })
  ).body;
const look = async (barcode: string) => (await must(200, { path: `/storage/samples/${barcode}` })).body;
const absent = (barcode: string) => must(404, { path: `/storage/samples/${barcode}` });
/** What is where, by SQL of its own. */
async function whereabouts(): Promise<Map<string, string | null>> {
  const { rows } = await inTenant(api.store.db, api.store.tenantId, (tx) =>
    sql<{ id: string; position_id: string | null }>`SELECT s.id, p.id AS position_id FROM sample s
      LEFT JOIN position p ON p.sample_id = s.id`.execute(tx),
  );
  return new Map(rows.map((row) => [row.id, row.position_id]));
}

describe('an import of samples', () => {
  test('registers them where they are asserted to be, until something scans them', async () => {
    const { barcode: box } = await newBox();
    const text =
      'Barcode;Sample Type;Temperature;Study;Donor;Amount;Units;Expires;Box;Well;Remark\r\n' +
      `IMP-1;plasma;-80;P;D-7;1.50;ml;2031-12-31;${box};A1;x\r\nIMP-2;plasma;-80;;;;;;Main/F1/B1;a02;\r\nIMP-3;serum;-80\r\n`;
    const dry = await send(200, 'kind=samples&dryRun=true', text);
    expect(dry).toMatchObject({
      state: 'CHECKED',
      rows: 3,
      doable: 3,
      applied: 0,
      problems: 0,
      ignoredColumns: ['Remark'],
    });
    await absent('IMP-1');
    const report = await send(200, 'kind=samples', text);
    expect(report).toMatchObject({ state: 'DONE', rows: 3, applied: 3 });
    expect(await look('IMP-1')).toMatchObject({
      type: 'plasma',
      project: 'P',
      subject: 'D-7',
      quantity: { amount: '1.5', unit: 'ml' },
      expiresOn: '2031-12-31',
      state: 'stored',
      witness: 'asserted',
      certainty: 'asserted',
      position: { label: 'A1', containerBarcode: box },
    });
    expect(await look('IMP-2')).toMatchObject({ position: { label: 'A2' } });
    expect(await look('IMP-3')).toMatchObject({ state: 'registered', custody: { kind: 'person' } });
    const scan = { containerBarcode: box, position: 'A1', sampleBarcode: 'IMP-1' };
    expect((await must(200, { path: '/storage/samples/IMP-1/verify', json: scan })).body.certainty).toBe(
      'seen',
    );
    const { entries } = (await must(200, { path: '/storage/samples/IMP-1/timeline' })).body;
    expect(entries[0]).toMatchObject({ type: 'storage.sample.registered', reason: 'import' });
  });

  test('names every mistake by line and column; all or nothing does nothing, valid does the others', async () => {
    const { id, barcode: box } = await newBox();
    const warm = await newBox({ parent: warmer });
    const [, second] = await positionsOf(api.store, id);
    await storeSample(api.store, { barcode: 'THERE', positionId: second ?? '' });
    const text = [
      'barcode,type,zone,Box,Well,amount,unit',
      `OK-1,plasma,-80,${box},A1,,`,
      `OK-2,plasma,-80,${box},A2,,`,
      `OK-3,plasma,-80,${box},A1,,`,
      `OK-1,plasma,-80,${box},A3,,`,
      `THERE,plasma,-80,${box},A4,,`,
      `OK-4,plasma,-80,${box},J1,,`,
      `OK-5,plasma,-80,NO-BOX,A5,,`,
      `OK-6,plasma,-81,${box},A6,-1,ul`,
      `OK-7,plasma,-80,${warm.barcode},A1,,`,
      `OK-8,plasma,-80,${box},,,`,
      `,plasma,-80,${box},A7,,`,
      `OK-9,plasma,-80,${box},A9,,,surplus`,
      `OK-10,plasma,-80,${box},I9,,`,
    ].join('\n');
    const problems = [
      [3, 'Well', /holds sample/],
      [4, 'Well', /position of line 2/],
      [5, 'barcode', /tube of line 2/],
      [6, 'barcode', /belongs to sample/],
      [7, 'Well', /J1 does not exist in B\d+, which has rows A–I and columns 1–9/],
      [8, 'Box', /“NO-BOX” is no location/],
      [9, 'zone', /“-81” is no temperature class: there are .*LN2/],
      [9, 'amount', /“-1” is no amount/],
      [10, 'Box', /is at -20, and the sample needs -80/],
      [11, 'Well', /location and position come together/],
      [12, 'barcode', /is empty/],
      [13, undefined, /value in column 8, and 7 columns have a heading/],
    ] as const;
    const expected = problems.map(([line, column, detail]) =>
      expect.objectContaining({ line, ...(column && { column }), detail: expect.stringMatching(detail) }),
    );
    const dry = await send(200, 'kind=samples&dryRun=true', text);
    expect(dry.firstProblems).toEqual(expected);
    expect(dry).toMatchObject({ rows: 13, doable: 2, problems: 12 });
    const refused = await send(409, 'kind=samples', text);
    expect(refused).toMatchObject({ code: 'BULK_REFUSED', facts: { rows: 13, problems: 12 } });
    expect(refused.errors[0]).toEqual({
      pointer: 'line 3, column Well',
      detail: expect.stringMatching(/holds/),
    });
    await absent('OK-1');
    const done = await send(200, 'kind=samples&mode=valid', text);
    expect(done).toMatchObject({ state: 'DONE', applied: 2, problems: 12 });
    expect((await look('OK-10')).position.label).toBe('I9');
    await absent('OK-2');
    const paged = (await must(200, { path: `/storage/bulk/${done.id}/problems?limit=5` })).body;
    expect(paged.problems).toHaveLength(5);
    const rest = (
      await must(200, { path: `/storage/bulk/${done.id}/problems?limit=500&cursor=${paged.nextCursor}` })
    ).body;
    expect([...paged.problems, ...rest.problems]).toEqual(expected);
  });

  test.each([
    ['no rows', 'barcode,type,zone\n', /no rows below/],
    ['nothing', '', /empty/],
    ['no barcodes', 'type,zone\nplasma,-80\n', /no column for barcode; its headings are type, zone/],
    ['merged headings', 'barcode,,zone,type\nT,x,-80,plasma\n', /Column B has no heading: .*unmerge/],
    [
      'a heading twice',
      'barcode,type,zone,Tube\nT,plasma,-80,T\n',
      /Columns A \(barcode\) and D \(Tube\) are both the barcode/,
    ],
    ['an open quotation mark', 'barcode,type,zone\nT,"plasma,-80\n', /quotation mark/],
  ])('with %s is refused in a sentence', async (_, text, detail) => {
    expect((await send(422, 'kind=samples', text)).detail).toMatch(detail);
  });

  test('is text/csv or a workbook', async () => {
    expect((await send(415, 'kind=samples', '{}', { 'content-type': 'application/json' })).detail).toMatch(
      /text\/csv/,
    );
  });

  test('goes by a profile that is kept', async () => {
    const profile = {
      name: 'Ward 3',
      kind: 'samples',
      columns: { barcode: 'Röhrchen', project: 'barcode' },
      defaults: { zone: '-80', type: 'plasma' },
    };
    const put = (version: string, json: unknown = profile): ApiRequest => ({
      method: 'PUT',
      path: '/storage/import-profiles',
      json,
      headers: { 'if-match': version },
    });
    expect((await must(200, put('"0"'))).body).toMatchObject({ ...profile, version: 1 });
    await must(412, put('"0"'));
    expect((await must(200, put('"1"'))).body.version).toBe(2);
    const { profiles } = (await must(200, { path: '/storage/import-profiles' })).body;
    expect(profiles).toMatchObject([{ name: 'Ward 3', version: 2 }]);
    await send(200, 'kind=samples&profile=Ward%203', 'Röhrchen,barcode\nPROF-1,HEART\n');
    expect(await look('PROF-1')).toMatchObject({ project: 'HEART', zone: '-80', type: 'plasma' });
    expect((await send(404, 'kind=samples&profile=Ward%204', 'a\n')).detail).toMatch(/there is Ward 3/);
  });

  test('from a workbook is the same', async () => {
    async function* rows() {
      yield ['barcode', 'type', 'zone'];
      yield ['XL-1', 'plasma', '-80'];
    }
    const parts: Uint8Array[] = [];
    for await (const part of writeXlsx(rows(), 'S')) parts.push(part);
    const reply = await api.app.request('/storage/imports?kind=samples', {
      method: 'POST',
      headers: { authorization: `Bearer ${api.people.lab_technician.token}`, 'content-type': XLSX },
      body: Buffer.concat(parts),
    });
    expect(reply.status).toBe(200);
    expect(await look('XL-1')).toMatchObject({ state: 'registered' });
  });

  test('repeated with its key is done once', async () => {
    const headers = { 'idempotency-key': 'import-1' };
    const text = 'barcode,type,zone\nKEY-1,plasma,-80\n';
    const first = await send(200, 'kind=samples', text, headers);
    expect(await send(200, 'kind=samples', text, headers)).toEqual(first);
  });

  test('that was left half-way is gone on with', async () => {
    const text = `barcode,type,zone\n${Array.from({ length: 2_500 }, (_, n) => `HALF-${n},plasma,-80`).join('\n')}`;
    const report = await send(200, 'kind=samples&mode=valid', text);
    expect(report).toMatchObject({ state: 'DONE', applied: 2_500 });
    const { tenantId, db } = api.store;
    // As a process leaves it that died after its first batch.
    const again = await inTenant(db, tenantId, async (tx) => {
      const { rows } = await sql<{
        id: string;
      }>`INSERT INTO bulk_operation (tenant_id, kind, import_kind, mode, state, actor_id, actor_role)
        SELECT tenant_id, kind, import_kind, mode, 'READY', actor_id, actor_role FROM bulk_operation WHERE id = ${report.id} RETURNING id`.execute(
        tx,
      );
      const id = rows[0]?.id ?? '';
      await sql`INSERT INTO bulk_row (tenant_id, operation_id, line, cells, barcode, sample_id, sample_version)
        SELECT tenant_id, ${id}, line, cells, CASE WHEN line < 1002 THEN barcode ELSE barcode || '-B' END,
          CASE WHEN line < 1002 THEN sample_id END, CASE WHEN line < 1002 THEN 1 END
        FROM bulk_row WHERE operation_id = ${report.id}`.execute(tx);
      return id;
    });
    const [one, other] = await Promise.all([1, 2].map(() => applyOperation(db, tenantId, again)));
    expect([one, other]).toEqual([
      expect.objectContaining({ state: 'DONE' }),
      expect.objectContaining({ state: 'DONE' }),
    ]);
    expect((await must(200, { path: `/storage/bulk/${again}` })).body).toMatchObject({
      rows: 2_500,
      applied: 2_500,
      problems: 0,
    });
  });
});

describe('the rules of a place', () => {
  const heading = 'barcode,type,zone,project,class,hazard,owner,quarantine,location,position\n';

  test('refuse a row as they refuse a placement, each with what would be right', async () => {
    const { barcode: ruled } = await newBox({
      rules: { projects: ['HEART'], sampleClasses: ['blood'], hazards: ['BSL-1'] },
    });
    const { barcode: alike } = await newBox({ rules: { exclusive: ['project'] } });
    const text =
      heading +
      [
        `RU-1,plasma,-80,HEART,blood,BSL-1,,,${ruled},A1`,
        `RU-2,plasma,-80,LUNG,blood,BSL-3,,,${ruled},A2`,
        `RU-3,plasma,-80,HEART,,,,,${ruled},A3`,
        `RU-4,plasma,-80,HEART,blood,,,yes,${ruled},A4`,
        `RU-5,plasma,-80,HEART,,,,,${alike},A1`,
        `RU-6,plasma,-80,LUNG,,,,no,${alike},A2`,
        `RU-7,plasma,-80,LUNG,,,,maybe,,`,
      ].join('\n');
    const dry = await send(200, 'kind=samples&dryRun=true', text);
    expect(dry.firstProblems.map((one: Record<string, string>) => [one.line, one.code, one.detail])).toEqual([
      [
        3,
        'RULE_NOT_MET',
        expect.stringMatching(/project HEART, not for LUNG; .*hazard BSL-1, not for BSL-3/),
      ],
      [4, 'RULE_NOT_MET', expect.stringMatching(/class blood, not for one without class/)],
      [5, 'RULE_NOT_MET', expect.stringMatching(/no place of quarantine/)],
      [7, 'RULE_NOT_MET', expect.stringMatching(/one project to a container: it holds HEART, not LUNG/)],
      [8, 'VALIDATION', expect.stringMatching(/neither yes nor no/)],
    ]);
    expect(await send(200, 'kind=samples&mode=valid', text)).toMatchObject({ applied: 2 });
    expect(await look('RU-1')).toMatchObject({ class: 'blood', hazard: 'BSL-1', position: { label: 'A1' } });
    // What stands in the box now decides for whoever comes next.
    const next = await send(409, 'kind=samples', `${heading}RU-8,plasma,-80,LUNG,,,,,${alike},A3\n`);
    expect(next.detail).toMatch(/it holds HEART, not LUNG/);
  });

  test('that changed since the rows were checked refuse them when they are done', async () => {
    const { id, barcode } = await newBox();
    const { tenantId, db } = api.store;
    const text = `barcode,type,zone,project\nLATE-1,plasma,-80,LUNG\nLATE-2,plasma,-80,HEART\n`;
    const report = await send(200, 'kind=samples', text);
    /** An operation that was checked before the rule came, as a process leaves it that dies then. */
    const checked = (mode: 'all' | 'valid') =>
      inTenant(db, tenantId, async (tx) => {
        const { rows } = await sql<{ id: string }>`
          INSERT INTO bulk_operation (tenant_id, kind, import_kind, mode, state, actor_id, actor_role)
          SELECT tenant_id, 'import', 'samples', ${mode}, 'READY', actor_id, actor_role FROM bulk_operation
          WHERE id = ${report.id} RETURNING id`.execute(tx);
        const operation = rows[0]?.id ?? '';
        await sql`INSERT INTO bulk_row (tenant_id, operation_id, line, cells, barcode, sample_type, zone, container_id,
                                        grid_row, grid_column, to_position_id)
          SELECT r.tenant_id, ${operation}, r.line, r.cells, r.barcode || ${mode}, r.sample_type, r.zone, ${id}::uuid, 0,
                 r.line - 2, p.id
          FROM bulk_row r JOIN position p ON p.container_id = ${id} AND p.grid_row = 0 AND p.grid_column = r.line - 2
          WHERE r.operation_id = ${report.id}`.execute(tx);
        return operation;
      });
    const [all, valid] = [await checked('all'), await checked('valid')];
    const path = `/storage/locations/${id}`;
    const { headers, body } = await must(200, { path });
    await must(200, {
      method: 'PUT',
      path,
      json: { name: body.name, barcode, rules: { projects: ['HEART'] } },
      headers: { 'if-match': headers.get('etag') ?? '' },
    });
    expect(await applyOperation(db, tenantId, all)).toMatchObject({ state: 'REFUSED', applied: 0 });
    await absent('LATE-2all');
    expect(await applyOperation(db, tenantId, valid)).toMatchObject({
      state: 'DONE',
      applied: 1,
      problems: 1,
    });
    await absent('LATE-1valid');
    expect(await look('LATE-2valid')).toMatchObject({ position: { containerBarcode: barcode } });
  });
});

describe('an import of placements', () => {
  test('asserts where known samples are, also where they change places', async () => {
    const { id, barcode: box } = await newBox();
    const [a1, a2] = await positionsOf(api.store, id);
    await storeSample(api.store, { barcode: 'PL-1', positionId: a1 ?? '' });
    await storeSample(api.store, { barcode: 'PL-2', positionId: a2 ?? '' });
    const text = `barcode,location,position\nPL-1,${box},A2\nPL-2,${box},A1\n`;
    expect(await send(200, 'kind=placements', text)).toMatchObject({ applied: 2 });
    expect(await look('PL-1')).toMatchObject({ position: { label: 'A2' }, witness: 'asserted' });
    expect(await look('PL-2')).toMatchObject({ position: { label: 'A1' }, witness: 'asserted' });
    const unknown = await send(409, 'kind=placements', `barcode,location,position\nNOBODY,${box},A5\n`);
    expect(unknown.detail).toMatch(/line 2, column barcode: is no sample’s/);
  });
});

describe('a bulk move', () => {
  const move = async (status: number, json: Record<string, unknown>) =>
    (await must(status, { path: '/storage/moves', json })).body;
  const undo = async (status: number, id: string, how: string) =>
    (await must(status, { path: `/storage/moves/${id}/undo`, json: { how } })).body;

  async function filled(n: number, tag: string) {
    const from = await newBox();
    const to = await newBox();
    const positions = await positionsOf(api.store, from.id);
    const moves: { sample: string; location: string; position: string }[] = [];
    for (let index = 0; index < n; index++) {
      const barcode = `${tag}-${index}`;
      await storeSample(api.store, { barcode, positionId: positions[index] ?? '' });
      moves.push({ sample: barcode, location: to.barcode, position: String(index + 1) });
    }
    return { from, to, moves };
  }

  test('is recorded by a person’s word, after a dry run that changes nothing', async () => {
    const { moves } = await filled(3, 'MV');
    const before = await whereabouts();
    expect(await move(200, { moves, dryRun: true })).toMatchObject({
      state: 'CHECKED',
      doable: 3,
      applied: 0,
    });
    expect(await whereabouts()).toEqual(before);
    expect(await move(200, { moves })).toMatchObject({ kind: 'move', state: 'DONE', applied: 3 });
    expect(await look('MV-2')).toMatchObject({ position: { label: 'A3' }, witness: 'person' });
    expect((await move(409, { moves: [{ ...moves[0], position: 'A2' }] })).detail).toMatch(/holds sample/);
  });

  test('is corrected: every tube is recorded where it was, asserted until it is scanned; once', async () => {
    const { moves } = await filled(3, 'CO');
    const before = await whereabouts();
    const { id } = await move(200, { moves });
    const report = await undo(200, id, 'correct');
    expect(report).toMatchObject({ kind: 'undo', undoes: id, state: 'DONE', applied: 3 });
    expect(await whereabouts()).toEqual(before);
    expect(await look('CO-0')).toMatchObject({ witness: 'asserted', certainty: 'asserted' });
    expect((await undo(409, id, 'correct')).detail).toMatch(/was taken back by/);
    expect((await undo(409, report.id, 'correct')).detail).toMatch(/An undo is not taken back/);
    const { entries } = (await must(200, { path: '/storage/samples/CO-0/timeline' })).body;
    expect(entries.map((entry: { type: string; reason: string }) => [entry.type, entry.reason])).toEqual([
      ['storage.sample.registered', 'registered'],
      ['storage.sample.moved', 'move'],
      ['storage.sample.corrected', 'undo'],
    ]);
  });

  test('is moved back by a job for each tube', async () => {
    const { moves } = await filled(2, 'BA');
    const { id } = await move(200, { moves });
    expect(await undo(200, id, 'move_back')).toMatchObject({ state: 'DONE', applied: 2 });
    const { id: sampleId } = await look('BA-0');
    const { jobs } = (await must(200, { path: `/automation/jobs?sample=${sampleId}` })).body;
    expect(jobs).toMatchObject([{ kind: 'move', mode: 'hand', state: 'QUEUED' }]);
  });

  test('is not taken back where something later depends on it, and says on what', async () => {
    const { from, to, moves } = await filled(3, 'LA');
    const { id } = await move(200, { moves });
    await must(200, { path: '/storage/samples/LA-1/hold', json: { reason: 'quality' } });
    const [first] = await positionsOf(api.store, from.id);
    await storeSample(api.store, { barcode: 'LA-NEW', positionId: first ?? '' });
    const before = await whereabouts();
    const refused = await undo(409, id, 'correct');
    expect(refused.code).toBe('BULK_REFUSED');
    expect(refused.errors).toEqual([
      { pointer: 'line 1, column position', detail: expect.stringMatching(/holds sample/) },
      {
        pointer: 'line 2, column barcode',
        detail: expect.stringMatching(/depends on it: storage\.sample\.held/),
      },
    ]);
    expect(await whereabouts()).toEqual(before);
    expect(to).toBeDefined();
  });

  test('an import that was wrong is taken back into archived records, its positions are free', async () => {
    const { barcode: box } = await newBox();
    const report = await send(
      200,
      'kind=samples',
      `barcode,type,zone,location,position\nWR-1,plasma,-80,${box},A1\n`,
    );
    expect(await undo(409, report.id, 'move_back')).toMatchObject({ code: 'CONFLICT' });
    expect(await undo(200, report.id, 'correct')).toMatchObject({ applied: 1 });
    expect(await look('WR-1')).toMatchObject({ state: 'archived', custody: { kind: 'unknown' } });
    const { cells } = (await must(200, { path: `/storage/locations/${box}/map` })).body;
    expect(cells[0]).toMatchObject({ label: 'A1', state: 'free' });
  });
});

describe('an export', () => {
  const get = async (query: string) =>
    api.app.request(`/storage/exports/samples?${query}`, {
      headers: { authorization: `Bearer ${api.people.lab_technician.token}` },
    });

  test('of a location can be imported again; what a spreadsheet would run is guarded', async () => {
    const { id, barcode: box } = await newBox();
    const [a1, a2] = await positionsOf(api.store, id);
    await storeSample(api.store, { barcode: 'EX-1', positionId: a1 ?? '', project: '=HYPERLINK("x")' });
    await storeSample(api.store, { barcode: 'EX-2', positionId: a2 ?? '', project: 'a;b,c"d' });
    const csv = await get(`location=${box}`);
    expect(csv.headers.get('content-type')).toMatch(/text\/csv/);
    const bytes = new Uint8Array(await csv.arrayBuffer());
    async function* once() {
      yield bytes;
    }
    const read: (readonly string[])[] = [];
    for await (const { cells } of readCsv(once())) read.push(cells);
    expect(read[0]?.slice(0, 4)).toEqual(['barcode', 'type', 'zone', 'project']);
    expect(read.slice(1).map((row) => [row[0], row[3], row[9], row[10]])).toEqual([
      ['EX-1', `'=HYPERLINK("x")`, `Main/F1/B${count}`, 'A1'],
      ['EX-2', 'a;b,c"d', `Main/F1/B${count}`, 'A2'],
    ]);
    const xlsx = await get(`location=${box}&format=xlsx`);
    const rows = readXlsx(new Uint8Array(await xlsx.arrayBuffer()));
    expect(rows.map(({ cells }) => cells[0])).toEqual(['barcode', 'EX-1', 'EX-2']);
    const again = new TextDecoder().decode(bytes);
    expect((await send(200, 'kind=placements&dryRun=true', again)).firstProblems).toEqual([]);
  });

  test('of all has every sample once', async () => {
    const lines = (await (await get('')).text()).trimEnd().split('\r\n');
    const samples = await whereabouts();
    expect(lines).toHaveLength(samples.size + 1);
  });
});

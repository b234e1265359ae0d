import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { v7 as uuidv7 } from 'uuid';
import { findOperation, listProblems, MOST_AT_ONCE } from '../../db/bulk-operations.ts';
import { applyOperation, stageOperation } from '../../db/bulk-run.ts';
import type { ReadRow } from '../../db/bulk-staging.ts';
import { undoOperation } from '../../db/bulk-undo.ts';
import { findProfile, listProfiles, setProfile } from '../../db/import-profiles.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { ColumnMapping } from '../../domain/bulk.ts';
import { priorityOf } from '../../domain/priority.ts';
import { isId } from '../../domain/reference.ts';
import {
  BulkProblemPage,
  BulkReport,
  ImportProfile,
  ImportProfileList,
  ImportQuery,
  MovesRequest,
  ProfileRequest,
  UndoRequest,
} from '../../schemas/bulk.ts';
import { Id } from '../../schemas/problem.ts';
import { jobStart } from '../../workflows/messages/start.ts';
import { presentProblem, refusalOf, reportOf } from '../bulk-view.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { rowsOfImport, sheetOf, XLSX_TYPE } from '../imports.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { orderMaker } from '../orders.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS, IfMatchHeader, withEtag } from './location-parts.ts';
import { accepted, one, REFUSALS } from './processes.ts';

const OperationParams = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });
const LineCursor = z.strictObject({ l: z.int(), id: z.uuid() });
const REPORT: BulkReport = {
  id: EXAMPLE_ID,
  kind: 'import',
  mode: 'valid',
  state: 'DONE',
  rows: 3,
  doable: 2,
  applied: 2,
  problems: 1,
  firstProblems: [
    {
      line: 4,
      field: 'position',
      column: 'Well',
      code: 'POSITION_UNKNOWN',
      detail: 'C13 does not exist in B-7, which has rows A–H and columns 1–12',
    },
  ],
  createdAt: '2026-03-02T08:15:00.000Z',
  finishedAt: '2026-03-02T08:15:01.000Z',
};
const PROFILE = {
  id: EXAMPLE_ID,
  name: 'Ward 3',
  kind: 'samples' as const,
  columns: { barcode: 'Tube-ID', position: 'Well' },
  defaults: { zone: '-80' },
  version: 1,
};

const importRoute = createRoute({
  ...secured('bulk.import'),
  method: 'post',
  path: '/storage/imports',
  tags: ['Storage'],
  summary: 'Import samples or placements from CSV or XLSX',
  description:
    'What is imported is asserted until something scans it. Over 20000 rows are done by a worker: 202, look at /storage/bulk/{id}.',
  request: {
    headers: IdempotencyHeader,
    query: ImportQuery,
    body: {
      required: true,
      content: {
        'text/csv': {
          schema: z.string(),
          example: 'barcode,type,zone,location,position\nTUBE-1,plasma,-80,BOX-7,A1\n',
        },
        [XLSX_TYPE]: { schema: z.string().openapi({ format: 'binary' }), example: '(a workbook)' },
      },
    },
  },
  responses: {
    200: reply(BulkReport, 'Done, or looked at in a dry run.', REPORT),
    202: reply(BulkReport, 'Checked; being done.', { ...REPORT, state: 'READY', applied: 0 }),
    ...problems(...BODY_REFUSALS, 'NOT_FOUND', 'BULK_REFUSED'),
  },
});

const movesRoute = createRoute({
  ...secured('sample.move'),
  method: 'post',
  path: '/storage/moves',
  tags: ['Storage'],
  summary: 'Move one tube, or record that a person has moved many',
  request: {
    headers: IdempotencyHeader,
    body: body(MovesRequest, { sample: 'TUBE-000123', target: { within: 'FREEZER-2' }, mode: 'hand' }),
  },
  responses: {
    200: reply(BulkReport, 'Many: recorded, or looked at in a dry run.', { ...REPORT, kind: 'move' }),
    202: accepted('One: the target is reserved and the move is under way'),
    ...problems('BULK_REFUSED', ...REFUSALS),
  },
});

const undoRoute = createRoute({
  ...secured('bulk.undo'),
  method: 'post',
  path: '/storage/moves/{id}/undo',
  tags: ['Storage'],
  summary: 'Take a bulk move or an import back: correct the record, or move the tubes back',
  request: {
    headers: IdempotencyHeader,
    params: OperationParams,
    body: body(UndoRequest, { how: 'correct' }),
  },
  responses: {
    200: reply(BulkReport, 'Taken back, as an operation of its own.', {
      ...REPORT,
      kind: 'undo',
      undoes: EXAMPLE_ID,
    }),
    ...problems(...BODY_REFUSALS, 'NOT_FOUND', 'CONFLICT', 'BULK_REFUSED'),
  },
});

const findRoute = createRoute({
  ...secured('bulk.read'),
  method: 'get',
  path: '/storage/bulk/{id}',
  tags: ['Storage'],
  summary: 'How far a bulk operation is',
  request: { params: OperationParams },
  responses: { 200: reply(BulkReport, 'As it stands.', REPORT), ...problems('NOT_FOUND', 'VALIDATION') },
});

const problemsRoute = createRoute({
  ...secured('bulk.read'),
  method: 'get',
  path: '/storage/bulk/{id}/problems',
  tags: ['Storage'],
  summary: 'Everything that is wrong with the rows of a bulk operation',
  request: {
    params: OperationParams,
    query: z.strictObject({
      limit: z.coerce.number().int().min(1).max(500).default(100),
      cursor: z.string().max(300).optional().openapi({ description: 'The nextCursor of the page before.' }),
    }),
  },
  responses: {
    200: reply(BulkProblemPage, 'In the order of the lines; without nextCursor it is the last page.', {
      problems: REPORT.firstProblems,
    }),
    ...problems('NOT_FOUND', 'VALIDATION'),
  },
});

const profilesRoute = createRoute({
  ...secured('bulk.read'),
  method: 'get',
  path: '/storage/import-profiles',
  tags: ['Storage'],
  summary: 'Column mappings of imports',
  responses: { 200: reply(ImportProfileList, 'By name.', { profiles: [PROFILE] }), ...problems() },
});

const profileRoute = createRoute({
  ...secured('bulk.import'),
  method: 'put',
  path: '/storage/import-profiles',
  tags: ['Storage'],
  summary: 'Keep a column mapping under its name; If-Match is its version, "0" for a new one',
  request: {
    headers: IfMatchHeader,
    body: body(ProfileRequest, {
      name: 'Ward 3',
      kind: 'samples',
      columns: { barcode: 'Tube-ID', position: 'Well' },
      defaults: { zone: '-80' },
    }),
  },
  responses: {
    200: withEtag(reply(ImportProfile, 'Kept.', PROFILE)),
    ...problems(...BODY_REFUSALS, 'PRECONDITION_REQUIRED', 'PRECONDITION_FAILED'),
  },
});

/** Work on many samples at once. */
export function bulkRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(importRoute, async (c) => {
    const { actor } = c.var;
    const { kind, mode, dryRun, profile, encoding = null, sheet = null } = c.req.valid('query');
    const mapping: ColumnMapping = profile
      ? await findProfile(db, actor.tenantId, profile, kind)
      : { columns: {}, defaults: {} };
    const { heading, rows } = await rowsOfImport(kind, mapping, await sheetOf(c, { encoding, sheet }));
    const headings = Object.fromEntries(
      [...heading.columns].map(([field, column]) => [field, column.heading]),
    );
    const request = {
      what: { kind: 'import' as const, importKind: kind },
      mode,
      dryRun: dryRun === 'true',
      headings,
    };
    const report = await run(c, request, rows, heading.ignored);
    return report.state === 'READY' ? c.json(report, 202) : c.json(report, 200);
  });

  routes.openapi(movesRoute, async (c) => {
    const json = c.req.valid('json');
    if ('sample' in json) {
      const { sample, target, ...common } = json;
      return c.json(...(await one(c, () => orderMaker(c, common).move(sample, target))));
    }
    const { moves, mode, dryRun } = json;
    async function* rows(): AsyncGenerator<ReadRow> {
      for (const [index, { sample, location, position }] of moves.entries()) {
        const named = isId(sample) ? { sampleId: sample } : {};
        const barcode = isId(sample) ? {} : { barcode: sample };
        yield { line: index + 1, values: { ...barcode, location, position }, ...named, problems: [] };
      }
    }
    return c.json(await run(c, { what: { kind: 'move' }, mode, dryRun, headings: {} }, rows()), 200);
  });

  /** @throws DomainError BULK_REFUSED */
  async function run(
    c: Context<ApiEnv>,
    request: Parameters<typeof stageOperation>[2],
    rows: AsyncIterable<ReadRow>,
    ignored?: readonly string[],
  ): Promise<BulkReport> {
    const { actor } = c.var;
    const staged = await stageOperation(db, actor, request, rows);
    const operation =
      staged.state === 'READY' && staged.rows <= MOST_AT_ONCE
        ? await applyOperation(db, actor.tenantId, staged.id)
        : staged;
    const report = await reportOf(db, operation, ignored);
    if (report.state === 'REFUSED') throw refusalOf(report);
    const status = report.state === 'READY' ? 202 : 200;
    await inTenant(db, actor.tenantId, (tx) => rememberReply(c, tx, { status, body: report }));
    return report;
  }

  routes.openapi(undoRoute, async (c) => {
    const { actor } = c.var;
    const { how, mode } = c.req.valid('json');
    const undo =
      how === 'correct'
        ? ({ how } as const)
        : ({
            how,
            jobFor: ({ sampleId, positionId }: { sampleId: string; positionId: string }) => {
              const job = {
                id: uuidv7(),
                kind: 'move' as const,
                mode,
                sampleId,
                priority: priorityOf('NORMAL'),
                actor,
                input: {
                  order: { kind: 'move' as const, target: { kind: 'named' as const, positionId } },
                  confirmation: null,
                },
              };
              return { ...job, workflowId: jobStart(job).workflowId, robotId: null };
            },
          } as const);
    const report = await reportOf(db, await undoOperation(db, actor, c.req.valid('param').id, undo));
    if (report.state === 'REFUSED') throw refusalOf(report);
    await inTenant(db, actor.tenantId, (tx) => rememberReply(c, tx, { status: 200, body: report }));
    return c.json(report, 200);
  });

  routes.openapi(findRoute, async (c) =>
    c.json(await reportOf(db, await findOperation(db, c.var.actor.tenantId, c.req.valid('param').id)), 200),
  );

  routes.openapi(problemsRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const { limit, cursor } = c.req.valid('query');
    const after = decodeCursor(LineCursor, cursor);
    const { id } = await findOperation(db, tenantId, c.req.valid('param').id);
    const found = await listProblems(db, tenantId, id, after && { line: after.l, id: after.id }, limit + 1);
    const last = found[limit - 1];
    return c.json(
      {
        problems: found.slice(0, limit).map(presentProblem),
        ...(found.length > limit && last && { nextCursor: encodeCursor({ l: last.line, id: last.id }) }),
      },
      200,
    );
  });

  routes.openapi(profilesRoute, async (c) =>
    c.json({ profiles: await listProfiles(db, c.var.actor.tenantId) }, 200),
  );

  routes.openapi(profileRoute, async (c) => {
    const profile = await setProfile(
      db,
      { actor: c.var.actor, reason: 'configuration' },
      versionFromIfMatch(c),
      c.req.valid('json'),
    );
    c.header('etag', etagOf(profile));
    return c.json(profile, 200);
  });

  return routes;
}

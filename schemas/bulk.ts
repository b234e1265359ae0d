import { z } from '@hono/zod-openapi';
import { MoveRequest, PositionLabel, Reference } from './automation.ts';
import { Id, Instant } from './problem.ts';

/** Fields of domain/bulk.ts; the compiler compares them where requests and replies are made. */
const FieldName = z.enum([
  'barcode',
  'type',
  'zone',
  'project',
  'subject',
  'lot',
  'expiresOn',
  'amount',
  'unit',
  'location',
  'position',
]);
const KindName = z.enum(['samples', 'placements']);
const ModeName = z.enum(['all', 'valid']).openapi({
  description: 'all: everything or nothing, up to 20000 rows; valid: the rows that can be done.',
});
const flag = z.enum(['true', 'false']).optional();

export const ImportQuery = z.strictObject({
  kind: KindName.openapi({
    description: 'samples: new ones, with or without a place; placements: where known samples are.',
  }),
  mode: ModeName.default('all'),
  dryRun: flag.openapi({ description: 'true: check everything and write nothing.' }),
  profile: z.string().trim().min(1).max(100).optional().openapi({ description: 'Name of a column mapping.' }),
  encoding: z
    .enum(['utf-8', 'latin1'])
    .optional()
    .openapi({ description: 'Of a CSV file; left out: UTF-8 or UTF-16.' }),
  sheet: z.string().max(100).optional().openapi({ description: 'Of a workbook; left out: the first.' }),
});

const BulkMoveRequest = z
  .strictObject({
    moves: z
      .array(z.strictObject({ sample: Reference, location: Reference, position: PositionLabel }))
      .min(1)
      .max(20_000),
    mode: ModeName.default('all'),
    dryRun: z.boolean().default(false),
  })
  .openapi('BulkMoveRequest', {
    description: 'What a person has moved: it is recorded by their word, all at once, and can be taken back.',
  });
export const MovesRequest = z.union([MoveRequest, BulkMoveRequest]).openapi('MovesRequest');

export const UndoRequest = z
  .strictObject({
    how: z.enum(['correct', 'move_back']).openapi({
      description:
        'correct: the tubes never moved; the record is put right, and asserted until they are scanned. ' +
        'move_back: they did; each is moved back by a job of its own.',
    }),
    mode: z.enum(['hand', 'robot']).default('hand').openapi({ description: 'Who moves them back.' }),
  })
  .openapi('UndoRequest');

export const ProfileRequest = z
  .strictObject({
    name: z.string().trim().min(1).max(100),
    kind: KindName,
    columns: z
      .partialRecord(FieldName, z.string().trim().min(1).max(200))
      .openapi({ description: 'Heading of each field.' }),
    defaults: z
      .partialRecord(FieldName, z.string().trim().min(1).max(200))
      .default({})
      .openapi({ description: 'What holds where a cell is empty.' }),
  })
  .openapi('ImportProfileRequest');
export const ImportProfile = z
  .object({
    id: Id,
    name: z.string(),
    kind: KindName,
    columns: z.partialRecord(FieldName, z.string()),
    defaults: z.partialRecord(FieldName, z.string()),
    version: z.int(),
  })
  .openapi('ImportProfile');
export const ImportProfileList = z.object({ profiles: z.array(ImportProfile) }).openapi('ImportProfileList');

const BulkProblem = z
  .object({
    line: z.int().openapi({ description: 'As in the file; of a list, from 1.' }),
    field: z.string().optional(),
    column: z.string().optional().openapi({ description: 'Heading of the column in the file.' }),
    code: z.string(),
    detail: z.string(),
  })
  .openapi('BulkProblem');
export const BulkReport = z
  .object({
    id: Id,
    kind: z.enum(['import', 'move', 'undo']),
    mode: ModeName,
    state: z.enum(['STAGING', 'CHECKED', 'READY', 'DONE', 'REFUSED']).openapi({
      description: 'CHECKED: a dry run; READY: being done; REFUSED: nothing was done.',
    }),
    undoes: Id.optional(),
    rows: z.int(),
    doable: z.int().openapi({ description: 'Rows without a problem.' }),
    applied: z.int(),
    problems: z.int(),
    firstProblems: z.array(BulkProblem).openapi({ description: 'The first 100; the rest is at …/problems.' }),
    ignoredColumns: z.array(z.string()).optional(),
    createdAt: Instant,
    finishedAt: Instant.optional(),
  })
  .openapi('BulkReport');
export type BulkReport = z.infer<typeof BulkReport>;
export const BulkProblemPage = z
  .object({ problems: z.array(BulkProblem), nextCursor: z.string().optional() })
  .openapi('BulkProblemPage');
export type BulkProblem = z.infer<typeof BulkProblem>;

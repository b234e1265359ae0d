import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { resolveReference } from '../../db/references.ts';
import { listSamples, listSamplesWithin, type SampleView } from '../../db/samples.ts';
import { Reference } from '../../schemas/automation.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { XLSX_TYPE } from '../imports.ts';
import { createRouter, problems, secured } from '../route.ts';
import { writeCsv, writeXlsx } from '../sheets/write.ts';

const PAGE = 1_000;
const COLUMNS = [
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
  'locationBarcode',
  'state',
  'custody',
  'certainty',
  'freezeThawCount',
  'useCount',
  'id',
] as const;

const exportRoute = createRoute({
  ...secured('sample.read'),
  method: 'get',
  path: '/storage/exports/samples',
  tags: ['Storage'],
  summary: 'Samples with their places as CSV or XLSX, of one location or all; can be imported again',
  description: 'Cells that a spreadsheet would take for a formula are guarded by an apostrophe.',
  request: {
    query: z.strictObject({
      format: z.enum(['csv', 'xlsx']).default('csv'),
      location: Reference.optional().openapi({ description: 'In and below it, container by container.' }),
    }),
  },
  responses: {
    200: {
      description: 'The file, as it is written.',
      content: {
        'text/csv': {
          schema: z.string(),
          example: `${COLUMNS.join(',')}\r\nTUBE-1,plasma,-80,,,,,,,Main site/F1/B-7,C5,BOX-7,stored,position,seen,0,0,…\r\n`,
        },
        [XLSX_TYPE]: { schema: z.string().openapi({ format: 'binary' }), example: '(a workbook)' },
      },
    },
    ...problems('NOT_FOUND', 'BARCODE_UNKNOWN', 'VALIDATION'),
  },
});

/** What is in the store, as files. */
export function exportRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(exportRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const { format, location } = c.req.valid('query');
    const within = location === undefined ? null : await resolveReference(db, tenantId, 'location', location);

    async function* rows(): AsyncGenerator<readonly string[]> {
      yield COLUMNS;
      for await (const sample of within === null ? all() : below(within)) yield cellsOf(sample);
    }
    async function* all(): AsyncGenerator<SampleView> {
      for (let after: string | null = null; ; ) {
        const page: SampleView[] = await listSamples(db, tenantId, {}, 'created', after, PAGE);
        yield* page;
        after = page.at(-1)?.id ?? null;
        if (page.length < PAGE) return;
      }
    }
    async function* below(id: string): AsyncGenerator<SampleView> {
      for (let after: { containerId: string; positionId: string } | null = null; ; ) {
        const page: SampleView[] = await listSamplesWithin(db, tenantId, id, {}, after, PAGE);
        yield* page;
        const place = page.at(-1)?.place;
        if (page.length < PAGE || !place) return;
        after = { containerId: place.containerId, positionId: place.positionId };
      }
    }

    const parts = format === 'csv' ? writeCsv(rows()) : writeXlsx(rows(), 'Samples');
    return new Response(ReadableStream.from(parts), {
      headers: {
        'content-type': format === 'csv' ? 'text/csv; charset=utf-8' : XLSX_TYPE,
        'content-disposition': `attachment; filename="samples.${format}"`,
      },
    });
  });
  return routes;
}

function cellsOf(sample: SampleView): string[] {
  const { life, place } = sample;
  const values: Record<(typeof COLUMNS)[number], string | number | null> = {
    barcode: sample.barcode,
    type: sample.type,
    zone: sample.zone,
    project: sample.project,
    subject: life.subject,
    lot: life.lot,
    expiresOn: life.expiresOn,
    amount: life.quantity?.amount ?? null,
    unit: life.quantity?.unit ?? null,
    location: place ? place.path.map((step) => step.name).join('/') : null,
    position: place?.label ?? null,
    locationBarcode: place?.containerBarcode ?? null,
    state: life.state,
    custody: sample.custody.kind,
    certainty:
      sample.custody.kind === 'unknown' ? 'unknown' : sample.witness === 'asserted' ? 'asserted' : 'seen',
    freezeThawCount: sample.exposure.freezeThawCount,
    useCount: life.useCount,
    id: sample.id,
  };
  return COLUMNS.map((column) => String(values[column] ?? ''));
}

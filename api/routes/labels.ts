import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { listSchemes, type SchemeRecord, setScheme } from '../../db/barcode-schemes.ts';
import type { Database } from '../../db/connection.ts';
import { findLocation, readMap } from '../../db/locations.ts';
import { findSample } from '../../db/samples.ts';
import { BARCODE_KINDS, type BarcodeKind } from '../../domain/barcode-scheme.ts';
import { DomainError } from '../../domain/errors.ts';
import {
  gs1Element,
  isGs1,
  type Label,
  requirePrintable,
  type Symbology,
  zplLabel,
} from '../../domain/label.ts';
import { Reference } from '../../schemas/automation.ts';
import {
  BarcodeSchemeList,
  BarcodeSchemeRequest,
  BarcodeSchemeView,
  BoxLabelsQuery,
  LabelQuery,
} from '../../schemas/label.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { type DrawnLabel, pngLabel, svgLabels } from '../label-drawing.ts';
import { body, createRouter, problems, reply, secured } from '../route.ts';
import { IfMatchHeader, LocationParams, withEtag } from './location-parts.ts';

/** Labels side by side on a sheet. */
const SHEET_COLUMNS = 4;

const SCHEME_EXAMPLE: z.input<typeof BarcodeSchemeView> = {
  kind: 'sample',
  pattern: '{prefix}-{counter:8}{check}',
  prefix: 'TS',
  check: 'mod37_2',
  enforced: true,
  version: 1,
};

const svg = { schema: z.string(), example: '<svg xmlns="http://www.w3.org/2000/svg">…</svg>' };
const zpl = { schema: z.string(), example: '^XA^CI28^FO16,16^BXN,5,200,,,,_^FH\\^FDTUBE-000123^FS^XZ' };
const png = { schema: z.string().openapi({ format: 'binary' }), example: 'PNG' };
const LABEL = {
  description: 'The label, 51 by 25 mm.',
  content: { 'image/svg+xml': svg, 'image/png': png, 'application/zpl': zpl },
};
const REFUSALS = ['NOT_FOUND', 'BARCODE_UNKNOWN', 'VALIDATION', 'CONFLICT'] as const;

const sampleLabelRoute = createRoute({
  ...secured('sample.read'),
  method: 'get',
  path: '/storage/samples/{id}/label',
  tags: ['Storage'],
  summary: 'The label of a tube',
  request: {
    params: z.object({ id: Reference.openapi({ param: { name: 'id', in: 'path' } }) }),
    query: LabelQuery,
  },
  responses: { 200: LABEL, ...problems(...REFUSALS) },
});

const locationLabelRoute = createRoute({
  ...secured('location.read'),
  method: 'get',
  path: '/storage/locations/{id}/label',
  tags: ['Storage'],
  summary: 'The label of a location',
  request: { params: LocationParams, query: LabelQuery },
  responses: { 200: LABEL, ...problems(...REFUSALS) },
});

const boxLabelsRoute = createRoute({
  ...secured('sample.read'),
  method: 'get',
  path: '/storage/locations/{id}/labels',
  tags: ['Storage'],
  summary: 'The labels of all tubes in a box, in its order',
  request: { params: LocationParams, query: BoxLabelsQuery },
  responses: {
    200: {
      description: `ZPL: one label after the other; SVG: a sheet with ${SHEET_COLUMNS} labels side by side.`,
      content: { 'image/svg+xml': svg, 'application/zpl': zpl },
    },
    ...problems(...REFUSALS),
  },
});

const schemesRoute = createRoute({
  ...secured('location.read'),
  method: 'get',
  path: '/storage/barcode-schemes',
  tags: ['Storage'],
  summary: 'How the laboratory makes its barcodes',
  responses: {
    200: reply(BarcodeSchemeList, 'Those that were set.', { schemes: [SCHEME_EXAMPLE] }),
    ...problems(),
  },
});

const setSchemeRoute = createRoute({
  ...secured('barcode_scheme.edit'),
  method: 'put',
  path: '/storage/barcode-schemes/{kind}',
  tags: ['Storage'],
  summary: 'Set how barcodes of samples or locations are made',
  description:
    'What is registered without a barcode gets the next one; when enforced, one that is not made so is refused. If-Match is the scheme’s `version`; 0 when none was set.',
  request: {
    params: z.object({
      kind: z.string().openapi({ param: { name: 'kind', in: 'path' }, example: 'sample' }),
    }),
    headers: IfMatchHeader,
    body: body(BarcodeSchemeRequest, {
      pattern: '{prefix}-{counter:8}{check}',
      prefix: 'TS',
      check: 'mod37_2',
    }),
  },
  responses: {
    200: withEtag(reply(BarcodeSchemeView, 'In force from now on.', SCHEME_EXAMPLE)),
    ...problems(
      'MALFORMED_BODY',
      'VALIDATION',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'NOT_FOUND',
      'PRECONDITION_REQUIRED',
      'PRECONDITION_FAILED',
    ),
  },
});

/** Labels to print, and the schemes their barcodes are made by. */
export function labelRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(sampleLabelRoute, async (c) => {
    const sample = await findSample(db, c.var.actor.tenantId, c.req.valid('param').id);
    return print(c, db, 'sample', [labelOf(sample)], c.req.valid('query'));
  });

  routes.openapi(locationLabelRoute, async (c) => {
    const { barcode, name, typeName } = await findLocation(db, c.var.actor.tenantId, c.req.valid('param').id);
    if (barcode === null) {
      throw new DomainError('CONFLICT', `${typeName} ${name} has no barcode to print: give it one first.`);
    }
    return print(c, db, 'location', [{ barcode, lines: [barcode, name, typeName] }], c.req.valid('query'));
  });

  routes.openapi(boxLabelsRoute, async (c) => {
    const { location, cells } = await readMap(db, c.var.actor.tenantId, c.req.valid('param').id);
    const labels = cells.flatMap(({ sample }) => (sample ? [labelOf(sample)] : []));
    if (labels.length === 0) {
      throw new DomainError(
        'CONFLICT',
        `${location.typeName} ${location.name} has no tubes to print labels of.`,
      );
    }
    return print(c, db, 'sample', labels, c.req.valid('query'));
  });

  routes.openapi(schemesRoute, async (c) =>
    c.json({ schemes: (await listSchemes(db, c.var.actor.tenantId)).map(present) }, 200),
  );

  routes.openapi(setSchemeRoute, async (c) => {
    const kind = BARCODE_KINDS.find((each) => each === c.req.valid('param').kind);
    if (kind === undefined) {
      throw new DomainError(
        'NOT_FOUND',
        `There is no such kind of barcode: there are ${BARCODE_KINDS.join(', ')}.`,
      );
    }
    const { enforced, gs1CompanyPrefix = null, ...rest } = c.req.valid('json');
    const scheme = await setScheme(
      db,
      { actor: c.var.actor, reason: 'configuration' },
      kind,
      { ...rest, isEnforced: enforced, gs1CompanyPrefix },
      versionFromIfMatch(c),
    );
    c.header('etag', etagOf(scheme));
    return c.json(present(scheme), 200);
  });
  return routes;
}

function labelOf(tube: {
  readonly barcode: string;
  readonly type: string;
  readonly project: string | null;
}): Label {
  const { barcode, type, project } = tube;
  return { barcode, lines: [barcode, type, ...(project === null ? [] : [project])] };
}

function present({ isEnforced, gs1CompanyPrefix, ...rest }: SchemeRecord): z.infer<typeof BarcodeSchemeView> {
  return { ...rest, enforced: isEnforced, ...(gs1CompanyPrefix !== null && { gs1CompanyPrefix }) };
}

async function print(
  c: Context<ApiEnv>,
  db: Database,
  kind: BarcodeKind,
  labels: readonly Label[],
  wanted: { readonly format: 'svg' | 'png' | 'zpl'; readonly symbology: Symbology; readonly dpmm: number },
): Promise<Response> {
  const { format, symbology, dpmm } = wanted;
  const schemes = isGs1(symbology) ? await listSchemes(db, c.var.actor.tenantId) : [];
  const prefix = schemes.find((scheme) => scheme.kind === kind)?.gs1CompanyPrefix ?? null;
  const drawn = labels.map((label): DrawnLabel => {
    const content = isGs1(symbology) ? gs1Element(label.barcode, prefix) : label.barcode;
    requirePrintable(symbology, content);
    return { ...label, content };
  });
  const [first] = drawn;
  if (format === 'png' && first) {
    const image = await pngLabel(first, symbology);
    return c.body(new Uint8Array(image), 200, { 'content-type': 'image/png' });
  }
  if (format === 'zpl') {
    const text = drawn.map((label) => zplLabel(label, symbology, label.content, dpmm)).join('\n');
    return c.body(`${text}\n`, 200, { 'content-type': 'application/zpl; charset=utf-8' });
  }
  const columns = drawn.length === 1 ? 1 : SHEET_COLUMNS;
  return c.body(svgLabels(drawn, symbology, columns), 200, { 'content-type': 'image/svg+xml' });
}

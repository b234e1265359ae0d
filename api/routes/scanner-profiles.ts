import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { listProfiles, type ProfileRecord, setProfile } from '../../db/scanner-profiles.ts';
import { DomainError } from '../../domain/errors.ts';
import {
  ProfileCode,
  ScannerProfile,
  ScannerProfileList,
  ScannerProfileRequest,
} from '../../schemas/scanner-profile.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { body, createRouter, problems, reply, secured } from '../route.ts';
import { IfMatchHeader, withEtag } from './location-parts.ts';

const REQUEST: z.input<typeof ScannerProfileRequest> = {
  name: 'Two columns, semicolons',
  format: 'table',
  delimiter: ';',
  width: 2,
  columns: { position: 1, barcode: 2 },
};
const EXAMPLE: ScannerProfile = {
  code: 'our_scanner',
  name: 'Two columns, semicolons',
  format: 'table',
  delimiter: ';',
  width: 2,
  columns: { position: 1, barcode: 2 },
  version: 1,
};

const listRoute = createRoute({
  ...secured('rack_scan.read'),
  method: 'get',
  path: '/storage/scanner-profiles',
  tags: ['Storage'],
  summary: 'How the output of each kind of rack scanner is read',
  responses: {
    200: reply(ScannerProfileList, 'In force, the presets too.', { profiles: [EXAMPLE] }),
    ...problems(),
  },
});

const setRoute = createRoute({
  ...secured('scanner_profile.edit'),
  method: 'put',
  path: '/storage/scanner-profiles/{code}',
  tags: ['Storage'],
  summary: 'Set a scanner profile, a preset’s or one of your own',
  description:
    'In force for scans from now on. If-Match is the profile’s `version`; 0 for one that nobody has set.',
  request: {
    params: z.object({
      code: z.string().openapi({ param: { name: 'code', in: 'path' }, example: 'our_scanner' }),
    }),
    headers: IfMatchHeader,
    body: body(ScannerProfileRequest, REQUEST),
  },
  responses: {
    200: withEtag(reply(ScannerProfile, 'In force from now on.', EXAMPLE)),
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

/** Scanner profiles of a laboratory. */
export function scannerProfileRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(listRoute, async (c) => {
    const profiles = await listProfiles(db, c.var.actor.tenantId);
    return c.json({ profiles: profiles.map(present) }, 200);
  });
  routes.openapi(setRoute, async (c) => {
    const { name, width = null, rack = null, columns, ...rest } = c.req.valid('json');
    const profile = { ...rest, width, rack, columns: { ...columns, rack: columns.rack ?? null } };
    const code = c.req.valid('param').code;
    if (!ProfileCode.safeParse(code).success) {
      throw new DomainError(
        'NOT_FOUND',
        `There is no scanner profile ${code.slice(0, 50)}: a code has small letters, digits and _, such as our_scanner.`,
      );
    }
    const set = await setProfile(
      db,
      { actor: c.var.actor, reason: 'configuration' },
      { code, name, profile },
      versionFromIfMatch(c),
    );
    c.header('etag', etagOf(set));
    return c.json(present(set), 200);
  });
  return routes;
}

function present({ code, name, profile, version }: ProfileRecord) {
  const { width, columns, rack, empty, unread, ...rest } = profile;
  return {
    code,
    name,
    ...rest,
    ...(width !== null && { width }),
    columns: {
      ...(columns.rack !== null && { rack: columns.rack }),
      position: columns.position,
      barcode: columns.barcode,
    },
    ...(rack && { rack: { ...rack } }),
    empty: [...empty],
    unread: [...unread],
    version,
  };
}

import { z } from '@hono/zod-openapi';
import { Reference } from './automation.ts';
import { Id } from './problem.ts';
import { ProfileCode } from './scanner-profile.ts';

const scannerFields = {
  name: z.string().trim().min(1).max(100).openapi({ example: 'Scanner at bench 2' }),
  driver: z.enum(['visionmate']).default('visionmate'),
  host: z
    .string()
    .regex(/^[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$/, { error: 'a host name or an address' })
    .openapi({ example: '192.0.2.20' }),
  port: z.int().min(1).max(65_535).default(8000),
  profile: ProfileCode.default('visionmate'),
};

export const EnrolRackScannerRequest = z.strictObject(scannerFields).openapi('EnrolRackScannerRequest');

export const RackScanner = z.object({ id: Id, ...scannerFields, version: z.int() }).openapi('RackScanner');

export const RackScannerList = z.object({ scanners: z.array(RackScanner) }).openapi('RackScannerList');

export const ScanRequest = z
  .strictObject({
    location: Reference.openapi({ description: 'The box that is put on it.', example: 'BOX-7' }),
  })
  .openapi('ScanRequest');

import { z } from '@hono/zod-openapi';
import { Reference } from './automation.ts';
import { Id, Instant } from './problem.ts';
import { ProfileCode } from './scanner-profile.ts';

/** List of db/rack-scans.ts and domain/rack-diff.ts; the compiler compares them where replies are made. */
export const RackScanStateName = z.enum(['reading', 'open', 'superseded', 'applied', 'failed']);
const VERDICTS = {
  match: 'the tube recorded here',
  moved: 'a tube recorded in another position of this box',
  elsewhere: 'a tube recorded in another box, or in somebody’s hands',
  found: 'a tube nobody knew the place of',
  unknown: 'a barcode that no tube has',
  duplicate: 'a barcode that was read in another position too',
  unread: 'a tube whose code could not be read',
  missing: 'nothing, where a tube is recorded that is nowhere else in the scan',
  empty: 'nothing, and nothing is missing',
  not_scanned: 'the scan does not say',
} as const;
const Verdict = z.enum(Object.keys(VERDICTS) as (keyof typeof VERDICTS)[]).openapi({
  description: Object.entries(VERDICTS)
    .map(([verdict, meaning]) => `${verdict}: ${meaning}`)
    .join('; '),
});

const Text = z.string().min(1).max(1_000_000);

export const NewRackScanRequest = z
  .strictObject({
    location: Reference.optional().openapi({
      description: 'The box; left out: the one whose barcode the scan has.',
      example: 'BOX-7',
    }),
    profile: ProfileCode.default('two_columns'),
    text: Text.optional().openapi({ description: 'The scanner’s output.' }),
    fileBase64: z
      .base64({ error: 'should be the bytes of a file in base64' })
      .min(4)
      .max(1_000_000)
      .optional()
      .openapi({ description: 'The file’s bytes, when they may not be UTF-8.' }),
    positions: z
      .array(
        z
          .strictObject({
            position: z.string().max(20).openapi({ example: 'A1' }),
            barcode: z.string().min(1).max(100).optional(),
            read: z.enum(['empty', 'unread']).optional(),
          })
          .refine(({ barcode, read }) => (barcode === undefined) !== (read === undefined), {
            error: 'should have either a barcode, or read: empty or unread',
          }),
      )
      .min(1)
      .max(10_000)
      .optional()
      .openapi({ description: 'What a program read, instead of a file.' }),
  })
  .refine(
    ({ text, fileBase64, positions }) =>
      [text, fileBase64, positions].filter((each) => each !== undefined).length === 1,
    { error: 'should have exactly one of text, fileBase64 and positions' },
  )
  .openapi('NewRackScanRequest');
export type NewRackScanRequest = z.infer<typeof NewRackScanRequest>;

const Place = z.object({ locationId: Id, location: z.string(), position: z.string() });
const Tube = z.object({
  sampleId: Id,
  barcode: z.string(),
  custody: z.enum(['position', 'carrier', 'handoff', 'person', 'transit', 'disposed', 'unknown']),
  recorded: Place.optional().openapi({ description: 'Where the record has it; absent: in no position.' }),
  jobId: Id.optional().openapi({ description: 'The job that has it.' }),
});
const RackSize = z.object({ rows: z.int(), columns: z.int() });

const ScannedPosition = z
  .object({
    position: z.string(),
    verdict: Verdict,
    barcode: z.string().optional().openapi({ description: 'As read.' }),
    tube: Tube.optional().openapi({ description: 'Whose barcode it is.' }),
    barcodeOf: z.enum(['location', 'retired']).optional().openapi({
      description: 'What the barcode belongs to when it is no tube’s.',
    }),
    alsoAt: z.array(z.string()).optional().openapi({ description: 'The other positions of a duplicate.' }),
    absent: Tube.optional().openapi({
      description: 'The tube recorded here that was found neither here nor elsewhere in the scan.',
    }),
    inBox: z.boolean().openapi({ description: 'false: the box has no such position.' }),
    jobId: Id.optional().openapi({ description: 'The job that holds the position.' }),
  })
  .openapi('ScannedPosition');

const summaryFields = {
  counts: z.record(Verdict, z.int()),
  absent: z.int().openapi({ description: 'Tubes recorded in the box that are not there.' }),
  rotated: z.boolean().openapi({
    description: 'The tubes stand as if the rack had been turned by 180°: A1 where H12 should be.',
  }),
  wrongSize: RackSize.optional().openapi({
    description: 'What was scanned, where it is not the box’s size.',
  }),
  otherBox: z.object({ locationId: Id, location: z.string(), tubes: z.int() }).optional().openapi({
    description: 'The box in which most of the tubes are recorded, where that is another.',
  }),
};

const scanFields = {
  id: Id,
  locationId: Id,
  location: z.string(),
  profile: ProfileCode,
  scannerId: Id.optional(),
  state: RackScanStateName.openapi({
    description: 'reading: a scanner is at it; open: may be applied; superseded: the box was scanned again.',
  }),
  rackBarcode: z.string().optional(),
  detail: z.string().optional().openapi({ description: 'Why the scanner gave no scan.' }),
  scannedBy: Id,
  scannedAt: Instant,
  supersededBy: Id.optional(),
  applied: z
    .object({
      at: Instant,
      by: Id,
      turned: z.boolean(),
      placed: z.int().openapi({ description: 'Tubes recorded in another place than before.' }),
      confirmed: z.int().openapi({ description: 'Tubes that were only asserted to be there.' }),
      lost: z.int().openapi({ description: 'Tubes that are UNKNOWN from then on.' }),
      blocked: z.int().openapi({ description: 'Positions in which something without a name stands.' }),
      deviations: z.array(Id),
    })
    .optional(),
  version: z.int(),
};

export const RackScan = z
  .object({
    ...scanFields,
    diff: z
      .object({ ...summaryFields, positions: z.array(ScannedPosition) })
      .optional()
      .openapi({ description: 'Against the record of the moment it was scanned.' }),
  })
  .openapi('RackScan');
export type RackScan = z.infer<typeof RackScan>;

export const RackScanPage = z
  .object({
    scans: z.array(z.object({ ...scanFields, diff: z.object(summaryFields).optional() })),
    nextCursor: z.string().optional(),
  })
  .openapi('RackScanPage');

export const ApplyRackScanRequest = z
  .strictObject({
    orientation: z.enum(['as_scanned', 'turned']).optional().openapi({
      description:
        'Asked for when the scan is rotated. turned: the rack lay the other way round in the scanner; as_scanned: the tubes really stand so.',
    }),
    confirm: z
      .array(z.enum(['wrong_size', 'other_box']))
      .max(2)
      .default([])
      .openapi({ description: 'What a person has looked at and says is so.' }),
  })
  .openapi('ApplyRackScanRequest');

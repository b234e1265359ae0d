import { z } from '@hono/zod-openapi';
import { NewBarcode, PositionLabel, Reference, Traits, ZoneName } from './automation.ts';
import { RuleName } from './job-view.ts';
import { Id, Instant } from './problem.ts';
import { QuantityLeft, Subject } from './quantity.ts';

/** Lists of domain/grid.ts and domain/custody.ts; the compiler compares them where requests and replies are made. */
const LabelSchemeName = z.enum(['number', 'upper', 'lower', 'roman_upper', 'roman_lower']);
const LabellingName = z.enum(['two_dimensional', 'linear', 'none']);
const DirectionName = z.enum(['horizontal', 'vertical']);
const OriginName = z.enum(['top_left', 'top_right', 'bottom_left', 'bottom_right']);
const CustodyName = z.enum(['position', 'handoff', 'carrier', 'person', 'transit', 'disposed', 'unknown']);
const WitnessName = z.enum(['sensor', 'barcode', 'person', 'two_persons', 'asserted']);

/** States of domain/sample-state.ts. */
const SampleStateName = z.enum([
  'registered',
  'stored',
  'checked_out',
  'in_use',
  'on_hold',
  'missing',
  'consumed',
  'shipped',
  'disposed',
  'archived',
  'lost',
]);

const TypeCode = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,49}$/, { error: 'a code of small letters, digits and _, such as box_9x9' })
  .openapi({ example: 'box_9x9' });
const LocationName = z.string().trim().min(1).max(100).openapi({ example: 'B-7' });
const SampleType = z.string().trim().min(1).max(100);
const SampleTypes = z
  .array(SampleType)
  .min(1)
  .max(100)
  .openapi({
    description: 'Kinds of sample it takes; left out: as its parent.',
    example: ['plasma', 'serum'],
  });

const Names = z.array(z.string().trim().min(1).max(100)).min(1).max(100);
export const LocationRules = z
  .strictObject({
    sampleClasses: Names.optional().openapi({ description: 'Accepted classes of sample.' }),
    projects: Names.optional().openapi({ description: 'Accepted projects.' }),
    hazards: Names.optional().openapi({
      description: 'Accepted hazards; samples without a known hazard are accepted.',
      example: ['BSL-1', 'BSL-2'],
    }),
    exclusive: z
      .array(z.enum(['project', 'type', 'owner']))
      .min(1)
      .max(3)
      .optional()
      .openapi({ description: 'All tubes of one container are alike in this.' }),
    quarantine: z
      .boolean()
      .optional()
      .openapi({ description: 'It takes samples in quarantine, and no others.' }),
  })
  .openapi('LocationRules', { description: 'Beyond temperature and type; in force on all below, too.' });

const GridRequest = z
  .strictObject({
    rows: z.int().min(1).max(1000),
    columns: z.int().min(1).max(1000),
    rowLabels: LabelSchemeName.default('upper'),
    columnLabels: LabelSchemeName.default('number'),
    labelling: z.enum(['two_dimensional', 'linear']).default('two_dimensional').openapi({
      description:
        'How a position is named: `C5`, or `23`. Either is taken on input, as are `c05` and `3,5`.',
    }),
    direction: DirectionName.default('horizontal').openapi({
      description: 'Which way numbers and filling go first from the origin.',
    }),
    origin: OriginName.default('top_left').openapi({
      description: 'The corner where rows, columns and numbers begin, as one looks at it.',
    }),
  })
  .refine((grid) => grid.rows * grid.columns <= 10_000, { error: 'should have at most 10000 positions' })
  .openapi('GridRequest');

const LooseRequest = z
  .strictObject({
    capacity: z.int().min(1).max(1000).optional().openapi({ description: 'Left out: as many as there are.' }),
  })
  .openapi('LooseRequest', { description: 'Things lie in it without positions: bags, bins.' });
const ONE_SHAPE = { error: 'has either a grid or loose things, not both', path: ['loose'] };

const RobotAddress = z
  .strictObject({ cassette: z.int().min(0).max(65_535), level: z.int().min(0).max(65_535) })
  .openapi('RobotAddress', {
    description: 'Where the robot finds the container; slots are counted in fill order.',
  });

export const NewLocationRequest = z
  .strictObject({
    type: TypeCode,
    parentId: Reference.optional().openapi({ description: 'Id or barcode; left out: at the root.' }),
    name: LocationName,
    barcode: NewBarcode.optional().openapi({ description: 'What is printed on it.', example: 'BOX-7' }),
    zone: ZoneName.optional().openapi({ description: 'Left out: as its type or its parent.' }),
    sampleTypes: SampleTypes.optional(),
    rules: LocationRules.optional(),
    grid: GridRequest.optional().openapi({ description: 'Left out: as its type.' }),
    loose: LooseRequest.optional().openapi({ description: 'Left out: as its type.' }),
    handoff: z.boolean().optional().openapi({ description: 'People and robots give each other tubes here.' }),
    robotAddress: RobotAddress.optional(),
  })
  .refine((location) => !(location.grid && location.loose), ONE_SHAPE)
  .openapi('NewLocationRequest');

/** Everything a person may change; what is left out is taken away. */
export const LocationEditRequest = z
  .strictObject({
    name: LocationName,
    barcode: NewBarcode.optional().openapi({
      description: 'Another barcode retires the one it had.',
      example: 'BOX-7',
    }),
    zone: ZoneName.optional(),
    sampleTypes: SampleTypes.optional(),
    rules: LocationRules.optional(),
    robotAddress: RobotAddress.optional(),
  })
  .openapi('LocationEditRequest');

const Pattern = z.string().trim().min(1).max(100);
export const ReplicateRequest = z
  .strictObject({
    parentId: Reference.optional().openapi({ description: 'Left out: where the original stands.' }),
    copies: z.int().min(1).max(100).default(1),
    firstNumber: z.int().min(0).max(999_999).default(1),
    name: Pattern.openapi({
      description:
        'Of each copy: `{n}` is its number, `{n:3}` in three digits, `{name}` the name of the original.',
      example: 'R-{n:2}',
    }),
    barcode: Pattern.optional().openapi({
      description:
        'For each location of a copy whose original has a barcode: `{barcode}` is the original’s. Left out: they get none.',
      example: '{barcode}-{n}',
    }),
  })
  .openapi('ReplicateRequest');

export const RelocateRequest = z
  .strictObject({
    parentId: Reference.optional().openapi({ description: 'Id or barcode; left out: the root.' }),
  })
  .openapi('RelocateRequest');

export const ResizeRequest = z
  .union([
    z
      .strictObject({ rows: z.int().min(1).max(1000), columns: z.int().min(1).max(1000) })
      .refine((grid) => grid.rows * grid.columns <= 10_000, { error: 'should have at most 10000 positions' }),
    z.strictObject({ capacity: z.int().min(1).max(1000) }),
    z.strictObject({ unlimited: z.literal(true) }),
  ])
  .openapi('ResizeRequest');

export const BlockRequest = z
  .strictObject({
    position: PositionLabel,
    reason: z.string().trim().min(1).max(200).openapi({ example: 'lid broken' }),
  })
  .openapi('BlockRequest');
export const UnblockRequest = z.strictObject({ position: PositionLabel }).openapi('UnblockRequest');

export const CanHoldRequest = z
  .union([
    z.strictObject({ sample: Reference.openapi({ description: 'Id or barcode.' }) }),
    z.strictObject({
      type: SampleType,
      zone: ZoneName,
      project: z.string().trim().min(1).max(100).optional(),
      ...Traits,
    }),
  ])
  .openapi('CanHoldRequest', { description: 'A sample, or what one would be.' });
export const CanHold = z
  .object({
    locationId: Id,
    canHold: z.boolean(),
    rules: z.array(z.object({ rule: RuleName, passed: z.boolean(), detail: z.string() })),
    position: z
      .object({
        positionId: Id,
        containerId: Id,
        containerName: z.string(),
        containerBarcode: z.string().optional(),
        label: z.string(),
      })
      .optional()
      .openapi({ description: 'What the system would choose now; nothing is reserved.' }),
  })
  .openapi('CanHold');
export type CanHold = z.infer<typeof CanHold>;

export const VerifyRequest = z
  .strictObject({
    containerBarcode: Reference.openapi({ description: 'As scanned on the container.', example: 'BOX-7' }),
    position: PositionLabel,
    sampleBarcode: Reference.openapi({ description: 'As scanned on the tube.', example: 'TUBE-000123' }),
  })
  .openapi('VerifyRequest');

const limit = z.coerce.number().int().min(1).max(500).default(50);
const cursor = z.string().max(300).optional().openapi({ description: 'The nextCursor of the page before.' });
const flag = z.enum(['true', 'false']).optional();

export const LocationQuery = z.strictObject({
  type: TypeCode.optional(),
  zone: ZoneName.optional().openapi({ description: 'Zone in force.' }),
  parent: Reference.optional().openapi({ description: 'With tree=true: the top of the tree.' }),
  minFree: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .optional()
    .openapi({ description: 'Containers with at least so many free positions.' }),
  retired: flag.openapi({ description: 'true: the retired ones instead.' }),
  tree: flag.openapi({
    description: 'true: the tree below `parent`, or all of it, empty places too; no pages.',
  }),
  depth: z.coerce
    .number()
    .int()
    .min(1)
    .max(20)
    .optional()
    .openapi({ description: 'With tree=true: levels; 20 unless said.' }),
  sort: z.enum(['created', '-created', 'name']).default('created'),
  limit,
  cursor,
});

export const SampleQuery = z.strictObject({
  location: Reference.optional().openapi({
    description: 'Samples in and below it, container by container in fill order; `sort` does not apply.',
  }),
  type: SampleType.optional(),
  project: z.string().trim().min(1).max(100).optional(),
  zone: ZoneName.optional().openapi({ description: 'The temperature the samples need.' }),
  custody: CustodyName.optional(),
  witness: WitnessName.optional(),
  state: SampleStateName.optional(),
  subject: Subject.optional(),
  parent: Reference.optional().openapi({ description: 'Aliquots of this sample.' }),
  sort: z.enum(['created', '-created']).default('-created'),
  limit,
  cursor,
});

export const TimelineQuery = z.strictObject({ limit, cursor });

// ── replies ──────────────────────────────────────────────────────────────────────────────────────────
const PathStep = z.object({ id: Id, type: z.string(), name: z.string() }).openapi('PathStep');
const Path = z.array(PathStep).openapi({ description: 'From the root to the place itself.' });
const counts = {
  total: z.int(),
  occupied: z.int(),
  reserved: z.int(),
  blocked: z.int(),
  free: z.int(),
};
const PositionCounts = z.object(counts).openapi('PositionCounts');
const GridView = z
  .object({
    rows: z.int(),
    columns: z.int(),
    rowLabels: LabelSchemeName,
    columnLabels: LabelSchemeName,
    labelling: LabellingName,
    direction: DirectionName,
    origin: OriginName,
  })
  .openapi('Grid');
const LooseView = z
  .object({ capacity: z.int().optional().openapi({ description: 'Absent: no limit.' }) })
  .openapi('Loose');

const locationFields = {
  id: Id,
  type: z.string(),
  typeName: z.string(),
  name: z.string(),
  barcode: z.string().optional(),
  parentId: Id.optional(),
  path: Path,
  zone: ZoneName.optional().openapi({ description: 'Set on the location itself.' }),
  sampleTypes: z.array(z.string()).optional().openapi({ description: 'Set on the location itself.' }),
  rules: z
    .object({
      zone: ZoneName.optional(),
      range: z.object({ minC: z.number(), maxC: z.number() }).optional().openapi({ description: '°C' }),
      sampleTypes: z.array(z.string()).optional().openapi({ description: 'Absent: any.' }),
      sampleClasses: z.array(z.string()).optional(),
      projects: z.array(z.string()).optional(),
      hazards: z.array(z.string()).optional(),
      exclusive: z.array(z.enum(['project', 'type', 'owner'])).optional(),
      quarantine: z.boolean().optional(),
    })
    .openapi({ description: 'In force: own, of the type, or inherited.' }),
  ownRules: LocationRules.optional().openapi({ description: 'Set on the location itself.' }),
  grid: GridView.optional().openapi({ description: 'Absent: it has no named positions.' }),
  loose: LooseView.optional().openapi({
    description: 'Things lie in it without positions; without a limit `positions` counts what is in it.',
  }),
  handoff: z.boolean(),
  robotAddress: RobotAddress.optional(),
  positions: PositionCounts.optional().openapi({ description: 'Its own positions.' }),
  createdAt: Instant,
  retiredAt: Instant.optional(),
  version: z.int(),
};

export const Location = z.object(locationFields).openapi('Location');
export type Location = z.infer<typeof Location>;
export type LocationNode = Location & { children: LocationNode[] };
export const LocationNode: z.ZodType<LocationNode> = z
  .object({ ...locationFields, children: z.array(z.lazy((): z.ZodType<LocationNode> => LocationNode)) })
  .openapi('LocationNode');
export const LocationPage = z
  .object({ locations: z.array(Location), nextCursor: z.string().optional() })
  .openapi('LocationPage');
export const LocationList = z.object({ locations: z.array(Location) }).openapi('LocationList');
export const LocationTree = z.object({ tree: z.array(LocationNode) }).openapi('LocationTree');

export const Capacity = z
  .object({
    locationId: Id,
    ...counts,
    perZone: z.array(z.object({ zone: ZoneName.optional(), ...counts })),
    perLevel: z
      .array(
        z.object({
          type: z.string(),
          typeName: z.string(),
          depth: z.int().openapi({ description: 'Levels below the location; 0 is the location itself.' }),
          locations: z.int(),
          withRoom: z
            .int()
            .openapi({ description: 'Of those, the ones with a free position in or below them.' }),
          ...counts,
        }),
      )
      .openapi({ description: 'Each level in its own unit.' }),
  })
  .openapi('Capacity');
export type Capacity = z.infer<typeof Capacity>;

export const LocationMap = z
  .object({
    location: Location,
    cells: z.array(
      z.object({
        positionId: Id,
        label: z.string(),
        row: z.int().openapi({ description: 'From 1, as labels count: from the origin.' }),
        column: z.int(),
        drawn: z
          .object({ row: z.int(), column: z.int() })
          .openapi({ description: 'From 1, from the top left as one looks at it.' }),
        state: z.enum(['free', 'reserved', 'occupied', 'blocked']),
        blockedReason: z.string().optional(),
        reservationId: Id.optional().openapi({ description: 'It is set aside by this reservation.' }),
        jobId: Id.optional(),
        leaseExpiresAt: Instant.optional(),
        sample: z
          .object({ id: Id, barcode: z.string(), type: z.string(), project: z.string().optional() })
          .optional(),
      }),
    ),
  })
  .openapi('LocationMap');
export type LocationMap = z.infer<typeof LocationMap>;

const LocationTypeFields = {
  code: TypeCode,
  name: LocationName,
  allowedParents: z.array(TypeCode).max(100).openapi({ description: 'Codes; none: it stands at the root.' }),
  zone: ZoneName.optional().openapi({ description: 'For units that make their own temperature.' }),
};
export const NewLocationTypeRequest = z
  .strictObject({ ...LocationTypeFields, grid: GridRequest.optional(), loose: LooseRequest.optional() })
  .refine((type) => !(type.grid && type.loose), ONE_SHAPE)
  .openapi('NewLocationTypeRequest');
/** Everything a person may change; what is left out is taken away. */
export const LocationTypeEditRequest = z
  .strictObject({
    name: LocationName,
    allowedParents: LocationTypeFields.allowedParents,
    zone: LocationTypeFields.zone,
    grid: GridRequest.optional(),
    loose: LooseRequest.optional(),
  })
  .refine((type) => !(type.grid && type.loose), ONE_SHAPE)
  .openapi('LocationTypeEditRequest');
export const LocationTypeParams = z.object({
  code: z
    .string()
    .max(50)
    .openapi({ param: { name: 'code', in: 'path' }, example: 'box_9x9' }),
});
export const LocationType = z
  .object({
    id: Id,
    ...LocationTypeFields,
    grid: GridView.optional(),
    loose: LooseView.optional(),
    version: z.int(),
  })
  .openapi('LocationType');
export type LocationType = z.infer<typeof LocationType>;
export const LocationTypeList = z.object({ types: z.array(LocationType) }).openapi('LocationTypeList');

const Candidate = z.union([
  z.object({ kind: z.enum(['position', 'handoff']), positionId: Id }),
  z.object({ kind: z.literal('carrier'), robotId: Id }),
  z.object({ kind: z.literal('person'), userId: Id }),
  z.object({ kind: z.literal('floor') }),
]);
const Custody = z
  .union([
    z.object({ kind: z.enum(['position', 'handoff']), positionId: Id }),
    z.object({ kind: z.literal('carrier'), robotId: Id }),
    z.object({ kind: z.literal('person'), userId: Id }),
    z.object({ kind: z.enum(['transit', 'disposed']) }),
    z.object({ kind: z.literal('unknown'), candidates: z.array(Candidate) }),
  ])
  .openapi('Custody', { description: 'Exactly one at any time.' });

const whereabouts = {
  custody: Custody,
  since: Instant,
  witness: WitnessName.openapi({ description: 'What saw it there; asserted: nothing did.' }),
  certainty: z.enum(['seen', 'asserted', 'unknown']).openapi({ description: 'How sure that is.' }),
  replacedBarcode: z.string().optional().openapi({
    description: 'The barcode it was asked by, which was replaced: the tube has another label now.',
  }),
  path: Path.optional().openapi({ description: 'To the container; for custody in a position or hand-off.' }),
  position: z
    .object({
      positionId: Id,
      containerId: Id,
      containerBarcode: z.string().optional(),
      label: z.string().openapi({ example: 'C5' }),
      row: z.int().openapi({ description: 'From 1.' }),
      column: z.int().openapi({ description: 'From 1.' }),
      zone: ZoneName.optional().openapi({ description: 'Zone in force there.' }),
    })
    .optional(),
};

export const SampleLocation = z.object({ sampleId: Id, ...whereabouts }).openapi('SampleLocation');
export type SampleLocation = z.infer<typeof SampleLocation>;

export const Sample = z
  .object({
    id: Id,
    barcode: z.string(),
    type: z.string(),
    project: z.string().optional(),
    zone: ZoneName.openapi({ description: 'The temperature it needs.' }),
    class: z.string().optional(),
    hazard: z.string().optional(),
    owner: z.string().optional(),
    quarantine: z.boolean().optional().openapi({ description: 'true: it must not stand among others.' }),
    ...whereabouts,
    aiOptimized: z.boolean().openapi({ description: 'The system chose the place.' }),
    jobId: Id.optional().openapi({ description: 'The live job that has it.' }),
    warmSince: Instant.optional().openapi({
      description:
        'Since when it is outside its cold. Absent: it is in it, or was never stored here and nobody knows.',
    }),
    exposureSeconds: z.number().openapi({
      description:
        'Outside its cold over its life, as far as it was ours; without the time since `warmSince`.',
    }),
    freezeThawCount: z.int().openapi({
      description: 'How often a frozen sample was outside its cold for longer than two minutes.',
    }),
    state: SampleStateName,
    holdReason: z.string().optional().openapi({ description: 'Why it is on hold.' }),
    enteredStorageAt: Instant.optional().openapi({ description: 'First time in a position.' }),
    parentId: Id.optional().openapi({ description: 'What it was taken from.' }),
    generation: z.int().openapi({ description: '0: collected; an aliquot is one more than its parent.' }),
    subject: z.string().optional().openapi({ description: 'The donor’s reference.' }),
    quantity: QuantityLeft.optional().openapi({ description: 'Absent: nobody measured it.' }),
    lot: z.string().optional(),
    expiresOn: z.iso.date().optional(),
    useCount: z.int(),
    createdAt: Instant,
    version: z.int(),
  })
  .openapi('Sample');
export type Sample = z.infer<typeof Sample>;
export const SamplePage = z
  .object({ samples: z.array(Sample), nextCursor: z.string().optional() })
  .openapi('SamplePage');

export const Timeline = z
  .object({
    entries: z.array(
      z.object({
        eventId: Id,
        type: z.string().openapi({ example: 'storage.sample.placed' }),
        version: z.int(),
        entry: z.int().openapi({ description: 'Sequence number in the ledger.' }),
        from: z.string().optional(),
        to: z.string().optional(),
        place: z.object({ label: z.string(), path: Path }).optional(),
        reason: z.string(),
        actor: z.object({ userId: z.string(), name: z.string().optional(), role: z.string() }),
        device: z.string().optional(),
        occurredAt: Instant,
        recordedAt: Instant,
        data: z.record(z.string(), z.unknown()),
      }),
    ),
    nextCursor: z.string().optional(),
  })
  .openapi('Timeline');
export type Timeline = z.infer<typeof Timeline>;

export const Overview = z
  .object({
    positions: PositionCounts,
    perZone: z.array(z.object({ zone: ZoneName.optional(), ...counts })),
    samples: z.partialRecord(CustodyName, z.int()).openapi({ description: 'By custody; absent: none.' }),
    alarms: z.object({ active: z.int(), unacknowledged: z.int() }),
    jobs: z.record(z.string(), z.int()).openapi({ description: 'Under way, by state.' }),
  })
  .openapi('Overview');

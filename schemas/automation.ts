import { z } from '@hono/zod-openapi';
import { RoleName } from './identity.ts';
import {
  ExposureClock,
  FaultAnswerName,
  JobResult,
  NextStepName,
  OperatorQuestion,
  Place,
  PlacementExplanation,
  RefusalView,
  StepDetail,
  WaitingFor,
} from './job-view.ts';
import { Id, Instant } from './problem.ts';
import { ExpiryDate, Lot, Quantity, Subject } from './quantity.ts';

/** Lists of domain/job.ts, zone.ts and order.ts; the compiler compares them where requests and replies are made. */
export const JobStateName = z.enum([
  'QUEUED',
  'RUNNING',
  'AWAITING_PERSON',
  'AWAITING_OPERATOR',
  'SAFETY_HOLD',
  'COMPENSATING',
  'COMPLETED',
  'COMPLETED_WITH_DEVIATION',
  'REFUSED',
  'FAILED',
  'CANCELLED',
]);
export const JobKindName = z.enum(['placement', 'retrieval', 'move']);
export const ModeName = z.enum(['hand', 'robot']);
export const ZoneName = z.enum(['LN2', '-80', '-20', '4', 'RT', '37']);

/** An id, or a barcode: barcodes are never UUID-shaped. */
export const Reference = z
  .string()
  .regex(/^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/, {
    error: 'an id, or a barcode of 1 to 64 printable ASCII characters',
  })
  .openapi({ description: 'An id or a barcode.', example: 'BOX-7' });

export const NewBarcode = Reference.refine((code) => !z.guid().safeParse(code).success, {
  error: 'should not be shaped like a UUID: such a text is taken for an id',
}).openapi({ description: 'What is printed on the tube.', example: 'TUBE-000123' });

export const PositionLabel = z
  .string()
  .regex(/^[A-Za-z0-9]{1,12}(?:[-,:/ ][A-Za-z0-9]{1,12})?$/, { error: 'a position such as C5' })
  .openapi({
    description:
      'Row and column of the container: `C5`, `c05`, `3,5`, or its number; `loose` where it has no positions.',
    example: 'C5',
  });

/** Where a tube shall go. */
export const TargetChoice = z
  .union([
    z.strictObject({ location: Reference, position: PositionLabel }).openapi({
      description: 'This position of this container.',
    }),
    z.strictObject({ within: Reference }).openapi({
      description: 'The system chooses a position anywhere below this location.',
    }),
  ])
  .openapi('TargetChoice');
export type TargetChoice = z.infer<typeof TargetChoice>;

export const PositionChoice = z.strictObject({ location: Reference, position: PositionLabel });

/** Names of domain/priority.ts; test/api/robots.test.ts compares. */
export const PriorityName = z.enum(['SYSTEM', 'URGENT', 'HIGH', 'NORMAL', 'LOW']);
const AnyPriority = z.union([PriorityName, z.int().min(0).max(100)]).openapi({
  description:
    'SYSTEM (100), URGENT (80), HIGH (50), NORMAL (20) or LOW (0), or a number from 0 to 100: higher goes first, then ' +
    'older. Waiting counts: one point each quarter minute, so that nobody waits for ever. SYSTEM goes before all others.',
  example: 'NORMAL',
});
export const Priority = AnyPriority.default('NORMAL');
export const priorityFields = {
  priority: z.int(),
  priorityName: PriorityName.openapi({ description: 'The highest name that is not above the number.' }),
};
export const Mode = ModeName.default('hand').openapi({ description: 'Who moves the tube.' });

/** A scan that completes a step by hand. */
export const ScanRequest = z
  .strictObject({
    sampleBarcode: NewBarcode.nullable().openapi({
      description:
        'The tube’s barcode as read; null when the label cannot be read, which takes a second person.',
    }),
    containerBarcode: Reference.openapi({
      description: 'Barcode of the container the tube was put into or taken from.',
    }),
    position: PositionLabel,
    secondPersonId: z
      .uuid()
      .optional()
      .openapi({
        description:
          'User id of the second person: somebody else whose role may confirm, and who has signed in themselves within ' +
          'the last 12 hours and not signed out. Else SECOND_PERSON_REQUIRED.',
      }),
  })
  .openapi('ScanRequest');
export type ScanRequest = z.infer<typeof ScanRequest>;

const trait = () => z.string().trim().min(1).max(100).optional();
/** What rules of places may ask of a sample. */
export const Traits = {
  class: trait().openapi({ description: 'A family of types.', example: 'blood derivative' }),
  hazard: trait().openapi({ example: 'BSL-2' }),
  owner: trait(),
  quarantine: z.boolean().optional().openapi({ description: 'true: it must not stand among others.' }),
};

export const newSampleFields = {
  barcode: NewBarcode,
  type: z.string().trim().min(1).max(100).openapi({ example: 'plasma' }),
  project: z.string().trim().min(1).max(100).optional().openapi({ example: 'HEART-2' }),
  ...Traits,
  zone: ZoneName.openapi({ description: 'The temperature the sample needs.' }),
  subject: Subject.optional(),
  lot: Lot.optional(),
  expiresOn: ExpiryDate.optional(),
  quantity: Quantity.optional(),
};
const placementFields = {
  target: TargetChoice.optional().openapi({ description: 'Left out: the system chooses.' }),
  handoff: PositionChoice.optional().openapi({
    description: 'By robot: the hand-off position the tube stands in, or will; left out, the system chooses.',
  }),
  confirmation: ScanRequest.optional().openapi({
    description:
      'The scan, when the tube stands there already: in its position (by hand) or the hand-off (by robot).',
  }),
};

/** Registers and stores a sample. */
export const StoreSampleRequest = z
  .strictObject({
    ...newSampleFields,
    barcode: NewBarcode.optional().openapi({
      description: 'What is printed on the tube; left out: the next of the laboratory’s scheme.',
    }),
    ...placementFields,
    mode: Mode,
    priority: Priority,
  })
  .openapi('StoreSampleRequest');
export type StoreSampleRequest = z.infer<typeof StoreSampleRequest>;

export const MoveSampleRequest = z
  .strictObject({ target: TargetChoice.optional(), mode: Mode, priority: Priority })
  .openapi('MoveSampleRequest');

export const MoveRequest = z
  .strictObject({
    sample: Reference.openapi({ example: 'TUBE-000123' }),
    target: TargetChoice.optional(),
    mode: Mode,
    priority: Priority,
  })
  .openapi('MoveRequest');

const retrievalFields = {
  handoff: PositionChoice.optional().openapi({
    description: 'By robot: the hand-off position to set the tube down in; left out, the system chooses.',
  }),
  mode: Mode,
  priority: Priority,
};
export const RetrieveSampleRequest = z.strictObject(retrievalFields).openapi('RetrieveSampleRequest');

/** One placement of a list: a registered sample, or a new one. */
export const PlacementItem = z
  .union([
    z.strictObject({ sample: Reference, ...placementFields }),
    z.strictObject({ register: z.strictObject(newSampleFields), ...placementFields }),
  ])
  .openapi('PlacementItem');

const LIST_MAX = 100;

/** One placement, or a list of them. */
export const PlacementRequest = z
  .union([
    z.strictObject({ sample: Reference, ...placementFields, mode: Mode, priority: Priority }),
    z.strictObject({ items: z.array(PlacementItem).min(1).max(LIST_MAX), mode: Mode, priority: Priority }),
  ])
  .openapi('PlacementRequest');

/** One retrieval, or a list of them. */
export const RetrievalRequest = z
  .union([
    z.strictObject({ sample: Reference, ...retrievalFields }),
    z.strictObject({ samples: z.array(Reference).min(1).max(LIST_MAX), mode: Mode, priority: Priority }),
  ])
  .openapi('RetrievalRequest');

const Step = z.object({
  step: z.string(),
  outcome: z.string(),
  detail: StepDetail,
  at: Instant,
});

const jobFields = {
  id: Id,
  kind: JobKindName,
  mode: ModeName,
  state: JobStateName,
  phase: z.string().openapi({ description: 'The step the process is at.', example: 'AWAITING_CONFIRMATION' }),
  sampleId: Id,
  robotId: Id.optional(),
  scheduleId: Id.optional().openapi({ description: 'The schedule it is a run of.' }),
  ...priorityFields,
  requestedBy: z.object({ userId: Id, role: RoleName, stationId: Id.optional() }),
  createdAt: Instant,
  startedAt: Instant.optional(),
  updatedAt: Instant,
  finishedAt: Instant.optional(),
  cancelRequestedAt: Instant.optional(),
  waitingFor: WaitingFor.optional().openapi({ description: 'While it waits for a person or a robot.' }),
  question: OperatorQuestion.optional().openapi({ description: 'While it waits for an operator’s answer.' }),
  exposure: ExposureClock.optional().openapi({ description: 'While its tube is outside its cold.' }),
  result: JobResult.optional(),
  links: z.object({ self: z.string(), temporal: z.string().optional() }),
};

/** One durable process, as it stands. */
export const Job = z.object(jobFields).openapi('Job');
export type Job = z.infer<typeof Job>;
export const JobWithSteps = z.object({ ...jobFields, steps: z.array(Step) }).openapi('JobWithSteps');
export type JobWithSteps = z.infer<typeof JobWithSteps>;

export const JobPage = z.object({ jobs: z.array(Job), nextCursor: z.string().optional() }).openapi('JobPage');

/** The early answer: the job, and the position when it is known in time. */
export const Started = z
  .object({
    job: Job,
    position: Place.optional().openapi({
      description:
        'Target of a placement or move, source of a retrieval. Absent when the answer was not ready in time.',
    }),
    why: PlacementExplanation.optional().openapi({
      description: 'Why this position: rules passed, score, the two runners-up.',
    }),
    handoff: Place.optional().openapi({ description: 'The robot’s hand-off position.' }),
    leaseExpiresAt: Instant.optional().openapi({
      description: 'By hand: the position is kept until then unless motion begins.',
    }),
  })
  .openapi('Started');
export type Started = z.infer<typeof Started>;

/** The answers to a list, in its order. */
export const StartedList = z
  .object({
    results: z.array(
      z.union([
        z.object({ outcome: z.literal('accepted') }).extend(Started.shape),
        z.object({
          outcome: z.literal('refused'),
          jobId: Id.optional(),
          ...RefusalView.shape,
        }),
      ]),
    ),
  })
  .openapi('StartedList');
export type StartedList = z.infer<typeof StartedList>;

export const HandOverRequest = z.strictObject({ sampleBarcode: NewBarcode }).openapi('HandOverRequest');

export const DecisionRequest = z
  .strictObject({
    faultId: z.uuid().openapi({ description: 'The fault the question was asked for.' }),
    answer: FaultAnswerName.openapi({
      description: 'Where the tube is. `retry_undo` answers a stuck compensation only.',
    }),
    next: NextStepName.default('release').openapi({
      description:
        'With `at_source` and `in_carrier`, where the question offers it: `go_on` has the robot go on with the job, `release` ends it.',
    }),
    place: z.strictObject({ location: Reference, position: PositionLabel }).optional().openapi({
      description: 'With `elsewhere`: the container and position the tube was found in, and stands in.',
    }),
    lockedOut: z.boolean().default(false).openapi({
      description:
        'The robot was locked out by its hardware before a hand went into the cell. Where the controller tells of its lock-out, it must have been seen.',
    }),
    sampleBarcode: NewBarcode.optional().openapi({
      description:
        'The tube’s barcode, scanned where it was found; not for damaged, not_found and retry_undo.',
    }),
    robotFit: z.boolean().openapi({
      description: 'May the robot go on working? `true` is taken only from a station enrolled at it.',
    }),
    comment: z.string().trim().min(1).max(1_000).optional(),
  })
  .openapi('DecisionRequest');

export const CancelRequest = z
  .strictObject({ reason: z.string().trim().min(1).max(1_000).optional() })
  .openapi('CancelRequest');

/** Another service, sequencing say, tells how urgent the sample is now. */
const ExpediteSignal = z
  .strictObject({
    type: z.literal('expedite'),
    eventId: z.uuid().openapi({ description: 'Names the event at its sender; sent again it counts once.' }),
    priority: AnyPriority,
  })
  .openapi('ExpediteSignal');

const SIGNALS = [ExpediteSignal] as const;

/** What other services may tell a job, by type. */
export const JobSignal = z
  .discriminatedUnion('type', SIGNALS, {
    error: ({ code }) =>
      code === 'invalid_union'
        ? `should be a type of signal there is: ${SIGNALS.map(({ shape }) => shape.type.value).join(', ')}`
        : undefined,
  })
  .openapi('JobSignal');

const RobotDriver = z.enum(['modbus', 'ascii', 'worklist']).openapi({
  description:
    'What its controller speaks: a register map over Modbus TCP, ASCII commands over TCP, or, for a store that does the moves ' +
    'itself, worklists over TCP.',
});

const Robot = z
  .object({
    id: Id,
    name: z.string(),
    storeId: Id,
    handoffId: Id,
    driver: RobotDriver,
    mode: z.enum(['auto', 'manual', 'estop']).optional().openapi({ description: 'As the controller says.' }),
    gate: z
      .string()
      .optional()
      .openapi({ description: 'Robots of one gate never have a turn at the same time.' }),
    doorOpen: z.boolean().optional().openapi({ description: 'Absent when the controller does not tell.' }),
    unitAlarm: z.boolean().optional().openapi({ description: 'The store is in alarm by its own judgement.' }),
    lockedOut: z.boolean().optional().openapi({ description: 'A person holds it by its hardware lock-out.' }),
    lockoutSeenAt: Instant.optional().openapi({ description: 'When a lock-out was last seen.' }),
    resetSeenAt: Instant.optional().openapi({
      description:
        'When the controller was last seen to come back to automatic mode after a stop, manual mode or a lock-out.',
    }),
    faults: z
      .array(
        z.object({
          id: Id,
          kind: z.enum(['job', 'safety', 'restored']),
          detail: z.string(),
          jobId: Id.optional(),
          raisedAt: Instant,
        }),
      )
      .openapi({ description: 'What holds it, oldest first: each is cleared by its id, once.' }),
    dispatch: z.enum(['running', 'paused', 'paused_now', 'maintenance']).openapi({
      description:
        '`paused`: no turn begins; `paused_now`: no motion begins either; `maintenance`: no turn begins, and robots with ' +
        'the same hand-off do what waits for it and is in their reach.',
    }),
    connected: z.boolean(),
    busy: z.boolean().optional(),
    carrierOccupied: z.boolean().optional(),
    errorCode: z.int().optional(),
    heldFaultId: Id.optional().openapi({ description: 'Frozen until this fault is resolved.' }),
    currentJobId: Id.optional(),
    queue: z.array(z.object({ jobId: Id, ...priorityFields, requestedAt: Instant })),
    lastContactAt: Instant.optional(),
  })
  .openapi('Robot');
export type Robot = z.infer<typeof Robot>;
export { Robot };
export const RobotList = z.object({ robots: z.array(Robot) }).openapi('RobotList');

export const EnrolRobotRequest = z
  .strictObject({
    name: z.string().trim().min(1).max(100),
    store: Reference.openapi({
      description: 'Everything below it that has a cassette and a level is in the robot’s reach.',
      example: 'STORE-1',
    }),
    handoff: Reference.openapi({ description: 'The location whose positions are its hand-off.' }),
    host: z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/, { error: 'a host name or address' }),
    driver: RobotDriver.default('modbus'),
    port: z
      .int()
      .min(1)
      .max(65_535)
      .optional()
      .openapi({ description: 'Preset: 502 for modbus, 8501 for ascii, 4001 for worklist.' }),
    unitId: z.int().min(0).max(255).default(1).openapi({ description: 'On Modbus.' }),
    gate: z.string().trim().min(1).max(100).optional().openapi({
      description: 'Name of a gate it shares with other robots: one of them has a turn at a time.',
      example: 'Gate north',
    }),
  })
  .openapi('EnrolRobotRequest');

export const RobotCommand = z
  .union([
    z.strictObject({
      command: z.literal('pause'),
      when: z
        .enum(['safe_point', 'now'])
        .default('safe_point')
        .openapi({
          description:
            '`safe_point`: after the turn under way. `now`: after the motion under way; the tube may stay in the carrier ' +
            'until the robot is resumed.',
        }),
      reason: z.string().trim().min(1).max(500).optional(),
    }),
    z.strictObject({
      command: z.enum(['resume', 'maintenance']),
      reason: z.string().trim().min(1).max(500).optional(),
    }),
    z.strictObject({
      command: z.literal('clear'),
      faultId: z.uuid(),
      reason: z.string().trim().min(1).max(500).optional(),
    }),
  ])
  .openapi('RobotCommand');

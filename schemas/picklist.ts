import { z } from '@hono/zod-openapi';
import {
  JobKindName,
  JobStateName,
  Mode,
  ModeName,
  PlacementItem,
  Priority,
  Reference,
  TargetChoice,
} from './automation.ts';
import { RoleName } from './identity.ts';
import { Place, RefusalView } from './job-view.ts';
import { Id, Instant } from './problem.ts';

/** Lists of domain/picklist.ts; the compiler compares them where requests and replies are made. */
export const PicklistStateName = z.enum([
  'RUNNING',
  'CANCELLING',
  'COMPLETED',
  'COMPLETED_WITH_DEVIATION',
  'FAILED',
  'CANCELLED',
]);
const PicklistTubeStateName = z.enum([
  'PLANNED',
  'STARTING',
  'RUNNING',
  'COMPLETED',
  'COMPLETED_WITH_DEVIATION',
  'REFUSED',
  'FAILED',
  'CANCELLED',
]);

const TUBES_MAX = 1_000;

const common = {
  name: z.string().trim().min(1).max(100).optional().openapi({ description: 'For people.' }),
  mode: Mode,
  priority: Priority,
  window: z.int().min(1).max(20).default(4).openapi({ description: 'Tubes under way at a time.' }),
  dryRun: z
    .boolean()
    .default(false)
    .openapi({ description: 'true: answers 200 with the plan, and nothing begins.' }),
};

const MoveItem = z.strictObject({ sample: Reference, target: TargetChoice.optional() }).openapi('MoveItem');

/** Where an entry names its tube, and how. */
interface Named {
  readonly path: readonly string[];
  readonly name: string;
}

/** Refuses a list that names a tube twice, at the second place. */
function eachOnce<T>(list: string, namedBy: (entry: T) => Named) {
  return (entries: T[], context: z.core.$RefinementCtx<T[]>): void => {
    const first = new Map<string, string>();
    for (const [index, entry] of entries.entries()) {
      const { path, name } = namedBy(entry);
      const before = first.get(name);
      if (before === undefined) first.set(name, [list, index, ...path].join('/'));
      else {
        const message = `should name another tube than /${before}`;
        context.addIssue({ code: 'custom', path: [index, ...path], message });
      }
    }
  };
}

const bySample = ({ sample }: { readonly sample: string }): Named => ({ path: ['sample'], name: sample });

const KINDS = [
  z.strictObject({
    kind: z.literal('retrieval'),
    samples: z
      .array(Reference)
      .min(1)
      .max(TUBES_MAX)
      .superRefine(eachOnce('samples', (name) => ({ path: [], name }))),
    ...common,
  }),
  z.strictObject({
    kind: z.literal('placement'),
    items: z
      .array(PlacementItem)
      .min(1)
      .max(TUBES_MAX)
      .superRefine(
        eachOnce('items', (item) =>
          'sample' in item ? bySample(item) : { path: ['register', 'barcode'], name: item.register.barcode },
        ),
      ),
    ...common,
  }),
  z.strictObject({
    kind: z.literal('move'),
    items: z.array(MoveItem).min(1).max(TUBES_MAX).superRefine(eachOnce('items', bySample)),
    ...common,
  }),
] as const;

/** Many tubes as one order. */
export const PicklistRequest = z
  .discriminatedUnion('kind', KINDS, {
    error: ({ code }) =>
      code === 'invalid_union'
        ? `should be a kind of picklist there is: ${KINDS.map(({ shape }) => shape.kind.value).join(', ')}`
        : undefined,
  })
  .openapi('PicklistRequest');
export type PicklistRequest = z.infer<typeof PicklistRequest>;

const Stop = z.object({ id: Id, name: z.string().openapi({ example: 'Freezer −80 F1' }) });

const PicklistPlace = z
  .object({
    path: z.array(Stop).openapi({ description: 'From the site down to the container.' }),
    label: z
      .string()
      .optional()
      .openapi({ description: 'The position; absent where the system chooses it.', example: 'C5' }),
  })
  .openapi('PicklistPlace');

const PicklistTube = z
  .object({
    seq: z.int().openapi({ description: 'Its place in the planned order, from 1 on.' }),
    given: z.int().openapi({ description: 'Its place in the request, from 1 on.' }),
    reference: z.string().openapi({ description: 'What the request called it.' }),
    sampleId: Id.optional(),
    place: PicklistPlace.optional().openapi({
      description: 'Where the plan goes for it; absent where the system chooses, or nobody knows.',
    }),
    state: PicklistTubeStateName.openapi({ description: 'Before its job, and then as that ended.' }),
    waitsForHandoffId: Id.optional().openapi({ description: 'The hand-off that has no room for it now.' }),
    job: z
      .object({ id: Id, state: JobStateName, phase: z.string(), link: z.string() })
      .optional()
      .openapi({ description: 'Its job; the last, where a full hand-off refused one before.' }),
    handoff: Place.optional().openapi({ description: 'The robot’s hand-off position.' }),
    detail: z.string().optional().openapi({ description: 'How it ended, in a sentence.' }),
    refusal: RefusalView.optional(),
    finishedAt: Instant.optional(),
  })
  .openapi('PicklistTube');
export type PicklistTube = z.infer<typeof PicklistTube>;

const DoorRun = z
  .object({
    unit: Stop.optional().openapi({ description: 'Absent: behind no door, or nobody knows yet.' }),
    shelf: Stop.optional(),
    from: z.int().openapi({ description: 'First `seq` behind these doors.' }),
    to: z.int().openapi({ description: 'Last `seq` behind these doors.' }),
  })
  .openapi('DoorRun');

const DoorOpenings = z.object({ units: z.int(), shelves: z.int() }).openapi('DoorOpenings');

const planFields = {
  tubes: z.array(PicklistTube).openapi({ description: 'In the planned order; refused ones at the end.' }),
  doors: z.array(DoorRun).openapi({ description: 'Each door once, with the tubes behind it.' }),
  openings: z
    .object({ planned: DoorOpenings, asGiven: DoorOpenings })
    .openapi({ description: 'How often doors are opened by the plan, and would be in the order given.' }),
};

/** In which order it would be done. */
export const PicklistPlan = z.object(planFields).openapi('PicklistPlan');
export type PicklistPlan = z.infer<typeof PicklistPlan>;

const picklistFields = {
  id: Id,
  kind: JobKindName,
  mode: ModeName,
  name: z.string().optional(),
  priority: z.int(),
  window: z.int(),
  state: PicklistStateName,
  counts: z
    .partialRecord(PicklistTubeStateName, z.int())
    .openapi({ description: 'Tubes by state.', example: { COMPLETED: 80, RUNNING: 4, PLANNED: 12 } }),
  requestedBy: z.object({ userId: Id, role: RoleName, stationId: Id.optional() }),
  cancelledBy: z.object({ userId: Id, reason: z.string().optional() }).optional(),
  createdAt: Instant,
  finishedAt: Instant.optional(),
  links: z.object({ self: z.string(), temporal: z.string().optional() }),
};

/** A list as it stands. */
export const Picklist = z.object(picklistFields).openapi('Picklist');
export type Picklist = z.infer<typeof Picklist>;
/** … with each of its tubes. */
export const PicklistReport = z.object({ ...picklistFields, ...planFields }).openapi('PicklistReport');
export type PicklistReport = z.infer<typeof PicklistReport>;
export const PicklistPage = z
  .object({ picklists: z.array(Picklist), nextCursor: z.string().optional() })
  .openapi('PicklistPage');

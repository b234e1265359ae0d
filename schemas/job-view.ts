import { z } from '@hono/zod-openapi';
import { Id, Instant } from './problem.ts';

/** Lists of domain/fault.ts and domain/placement.ts; test/api/job-view.test.ts compares what the API answers. */
export const FaultKindName = z.enum([
  'outcome_unknown',
  'dropped',
  'foreign_item',
  'compensation_stuck',
  'workflow_gone',
  'step_conflict',
  'barcode_mismatch',
]);
export const FaultAnswerName = z.enum([
  'at_source',
  'at_target',
  'in_carrier',
  'with_me',
  'elsewhere',
  'damaged',
  'not_found',
  'retry_undo',
]);
export const NextStepName = z.enum(['release', 'go_on']);
export const RuleName = z.enum([
  'in_service',
  'temperature',
  'type',
  'class',
  'project',
  'hazard',
  'quarantine',
  'exclusive',
  'reach',
  'capacity',
]);

/** A position as people and other services see it. */
export const Place = z
  .object({ positionId: Id, containerId: Id, label: z.string().openapi({ example: 'C5' }) })
  .openapi('Place');

const PlacementScore = z
  .object({
    total: z.number(),
    keepTogether: z
      .number()
      .openapi({ description: '0, or 100 to 150 by the share of the project’s tubes that stand here.' }),
    setAside: z
      .number()
      .optional()
      .openapi({ description: '200 where positions are reserved for the project.' }),
    door: z.number().openapi({ description: '10 when no further door has to be opened.' }),
    fill: z
      .number()
      .openapi({ description: '0 to 1: how full it is; one container is filled before the next.' }),
  })
  .openapi('PlacementScore');

export const PlacementExplanation = z
  .object({
    containerId: Id,
    rules: z
      .array(
        z.object({
          rule: RuleName,
          passed: z.boolean(),
          detail: z.string().openapi({ example: '-80 (−85…−60 °C) is what the sample needs' }),
        }),
      )
      .openapi({ description: 'The hard rules, in the order in which they are checked.' }),
    score: PlacementScore.optional().openapi({ description: 'Absent when the position was named.' }),
    runnersUp: z
      .array(
        z.object({
          containerId: Id,
          name: z.string(),
          score: PlacementScore.optional().openapi({ description: 'Absent when a rule refuses it.' }),
          lostBecause: z.string().openapi({ example: 'a further door would have to be opened' }),
        }),
      )
      .openapi({ description: 'The next best, at most two.' }),
  })
  .openapi('PlacementExplanation');
export type PlacementExplanation = z.infer<typeof PlacementExplanation>;

/** What a job waits for, while it cannot go on by itself. */
export const WaitingFor = z
  .object({
    kind: z.enum(['confirm', 'hand_over', 'decision', 'robot_turn']).openapi({
      description:
        '`confirm`: the scan of tube and container; `hand_over`: somebody who takes the tube from the hand-off; ' +
        '`decision`: an operator’s answer to `question`. Each of these is the name of the call that ends the wait. ' +
        '`robot_turn`: the robot’s turn, which comes when those before it in the queue are done and the robot works.',
    }),
    robotId: Id.optional().openapi({ description: 'The robot whose turn is waited for.' }),
  })
  .openapi('WaitingFor');
export type WaitingFor = z.infer<typeof WaitingFor>;

const seen = {
  kind: z.enum(['position', 'handoff', 'carrier', 'person']),
  positionId: Id.optional(),
  robotId: Id.optional(),
  userId: Id.optional(),
};

/** What the operator is asked. */
export const OperatorQuestion = z
  .object({
    faultId: Id.openapi({ description: 'Belongs into the decision.' }),
    kind: FaultKindName,
    detail: z.string().openapi({ description: 'What was being done, and what the sensors said.' }),
    robotId: Id.optional().openapi({ description: 'The robot that stands still until the answer.' }),
    candidates: z
      .array(
        z.object({
          ...seen,
          label: z.string().optional().openapi({ example: 'C5' }),
          containerName: z.string().optional().openapi({ example: 'Box B-7' }),
        }),
      )
      .openapi({ description: 'Where the tube may be; empty when that is not in doubt.' }),
    source: Place.optional().openapi({ description: 'What `at_source` means.' }),
    target: Place.optional().openapi({ description: 'What `at_target` means.' }),
    answers: z
      .array(
        z.object({
          answer: FaultAnswerName,
          needsScan: z.boolean().openapi({ description: 'The tube is scanned where it was found.' }),
          needsLockOut: z.boolean().openapi({
            description: 'The robot is locked out before a hand goes in; say so with `lockedOut`.',
          }),
          next: z
            .array(NextStepName)
            .openapi({ description: 'What may follow; the first one does when nothing is said.' }),
          does: z.string().openapi({ description: 'What happens then.' }),
        }),
      )
      .openapi({ description: 'The answers that are taken.' }),
  })
  .openapi('OperatorQuestion');
export type OperatorQuestion = z.infer<typeof OperatorQuestion>;

const predicted = {
  budgetSeconds: z
    .int()
    .optional()
    .openapi({ description: 'How long one move may have it outside its cold; absent: as long as it takes.' }),
  predictedSeconds: z.int(),
};

/** What a move was expected to cost when it was taken on. */
const ExposurePrediction = z
  .object({
    ...predicted,
    parts: z
      .object({
        pick: z.int(),
        read: z.int(),
        place: z.int(),
        waiting: z.int().openapi({ description: 'In a hand-off that is not in the sample’s cold.' }),
        wayBack: z.int().openapi({ description: 'From there, when nobody collects the tube.' }),
        byHand: z.int(),
      })
      .partial()
      .openapi({ description: 'Seconds outside its cold; they add up to `predictedSeconds`.' }),
    pickupSeconds: z
      .int()
      .optional()
      .openapi({ description: 'How long the tube waits in the hand-off before the robot takes it back.' }),
  })
  .openapi('ExposurePrediction');

/** The exposure clock of a job whose tube is outside its cold. */
export const ExposureClock = z
  .object({
    since: Instant,
    elapsedSeconds: z.number().openapi({ description: 'By now, the time with a person before the job too.' }),
    budgetSeconds: predicted.budgetSeconds,
    predictedSeconds: predicted.predictedSeconds.optional().openapi({
      description: 'As expected when the job was taken on; absent: by hand from a person.',
    }),
  })
  .openapi('ExposureClock');
export type ExposureClock = z.infer<typeof ExposureClock>;

/** Why something was refused; the same as in a Problem. */
export const RefusalView = z
  .object({
    code: z.string().openapi({ example: 'NO_POSITION_FREE' }),
    detail: z.string(),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
    facts: z
      .record(z.string(), z.unknown())
      .optional()
      .openapi({ description: 'What a program may use to do better, e.g. the next free position.' }),
  })
  .openapi('Refusal');

/** What a job has reserved, and what came of it. */
export const JobResult = z
  .object({
    place: Place.optional().openapi({
      description: 'Target of a placement or move, source of a retrieval.',
    }),
    source: Place.optional().openapi({ description: 'The position the tube stood in, if it stood in one.' }),
    handoff: Place.optional().openapi({ description: 'The robot’s hand-off position.' }),
    robotId: Id.optional(),
    leaseExpiresAt: Instant.optional().openapi({
      description: 'By hand: until when the position was kept, unless motion began.',
    }),
    explanation: PlacementExplanation.optional(),
    exposure: ExposurePrediction.optional().openapi({
      description: 'Expected time outside the sample’s cold; absent: by hand to or from a person.',
    }),
    deviation: z
      .object({ faultId: Id, answer: FaultAnswerName, robotFit: z.boolean(), by: Id })
      .optional()
      .openapi({ description: 'The last answer of an operator.' }),
    detail: z.string().optional().openapi({
      description: 'How it ended, in a sentence.',
      example: 'Stored in C5.',
    }),
    refusal: RefusalView.optional().openapi({ description: 'Of a job that was refused.' }),
  })
  .openapi('JobResult');
export type JobResult = z.infer<typeof JobResult>;

/** What a step says of itself; which of these depends on the step. */
export const StepDetail = z
  .object({
    detail: z.string(),
    state: z.string(),
    place: Place,
    source: Place,
    handoff: Place,
    refusal: RefusalView,
    released: z.int().openapi({ description: 'Positions and tubes let go of.' }),
    seen: z.object(seen).openapi({ description: 'Where the tube was seen.' }),
    operation: z.enum(['pick', 'place', 'scan', 'transfer']),
    positionId: Id,
    toPositionId: Id.openapi({ description: 'Where a transfer goes.' }),
    number: z.int().openapi({ description: 'The robot’s command number.' }),
    fence: z.int(),
    robotId: Id,
    turn: z.int(),
    ended: z.boolean(),
    faultId: Id,
    kind: FaultKindName,
    cleared: z.boolean(),
    answer: FaultAnswerName,
    robotFit: z.boolean(),
    by: Id.openapi({ description: 'User id.' }),
    reason: z.string(),
    from: z
      .union([z.string(), z.number()])
      .openapi({ description: 'The workflow that answered for the job before; the priority it had.' }),
    to: z.number().openapi({ description: 'The priority it has now.' }),
    eventId: z.string(),
  })
  .partial()
  .catchall(z.unknown())
  .openapi('StepDetail');
export type StepDetail = z.infer<typeof StepDetail>;

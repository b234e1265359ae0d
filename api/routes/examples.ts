import type { z } from '@hono/zod-openapi';
import type { Job, JobWithSteps, Started } from '../../schemas/automation.ts';
import type { PlacementExplanation } from '../../schemas/job-view.ts';

/** Ids of the examples in the API document. */
export const EXAMPLE_ID = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d01';
const SAMPLE_ID = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d02';
const CONTAINER_ID = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d03';
const POSITION_ID = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d04';

const ROBOT_ID = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d05';
const OTHER_CONTAINER_ID = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d06';
const OTHER_POSITION_ID = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d07';

const PLACE_EXAMPLE = { positionId: POSITION_ID, containerId: CONTAINER_ID, label: 'C5' };
const HANDOFF_EXAMPLE = { positionId: OTHER_POSITION_ID, containerId: OTHER_CONTAINER_ID, label: 'A2' };

const WHY_EXAMPLE: z.input<typeof PlacementExplanation> = {
  containerId: CONTAINER_ID,
  rules: [
    { rule: 'in_service', passed: true, detail: 'it is in service' },
    { rule: 'temperature', passed: true, detail: '-80 (−85…−60 °C) is what the sample needs' },
    { rule: 'type', passed: true, detail: 'it takes any type of sample' },
    { rule: 'capacity', passed: true, detail: '61 of 81 positions can be given away' },
  ],
  score: { total: 160.25, keepTogether: 150, door: 10, fill: 0.25 },
  runnersUp: [
    {
      containerId: OTHER_CONTAINER_ID,
      name: 'Box B-8',
      score: { total: 10.5, keepTogether: 0, door: 10, fill: 0.5 },
      lostBecause: "it holds none of the project's tubes",
    },
  ],
};

export const JOB_EXAMPLE: Job = {
  id: EXAMPLE_ID,
  kind: 'placement',
  mode: 'hand',
  state: 'AWAITING_PERSON',
  phase: 'AWAITING_CONFIRMATION',
  sampleId: SAMPLE_ID,
  priority: 20,
  requestedBy: { userId: EXAMPLE_ID, role: 'lab_technician', stationId: EXAMPLE_ID },
  createdAt: '2026-03-02T08:15:00.000Z',
  startedAt: '2026-03-02T08:15:00.020Z',
  updatedAt: '2026-03-02T08:15:00.020Z',
  waitingFor: { kind: 'confirm' },
  result: {
    place: PLACE_EXAMPLE,
    leaseExpiresAt: '2026-03-02T08:30:00.000Z',
    explanation: WHY_EXAMPLE,
  },
  links: { self: `/automation/jobs/${EXAMPLE_ID}` },
};

export const STARTED_EXAMPLE: z.input<typeof Started> = {
  job: JOB_EXAMPLE,
  position: PLACE_EXAMPLE,
  why: WHY_EXAMPLE,
  leaseExpiresAt: '2026-03-02T08:30:00.000Z',
};

export const SCAN_EXAMPLE = { sampleBarcode: 'TUBE-000123', containerBarcode: 'BOX-7', position: 'C5' };

const UNKNOWN_EXAMPLE =
  'The robot was to put the tube into C5: the controller was still busy after 120 s. The sensors: carrier empty, source not seen, target empty. Nobody knows where the tube is.';

/** A job by robot that asks the operator where the tube is. */
export const ASKING_EXAMPLE: z.input<typeof JobWithSteps> = {
  id: EXAMPLE_ID,
  kind: 'placement',
  mode: 'robot',
  state: 'AWAITING_OPERATOR',
  phase: 'OUTCOME_UNKNOWN',
  sampleId: SAMPLE_ID,
  robotId: ROBOT_ID,
  priority: 20,
  requestedBy: { userId: EXAMPLE_ID, role: 'lab_technician' },
  createdAt: '2026-03-02T08:15:00.000Z',
  startedAt: '2026-03-02T08:15:00.020Z',
  updatedAt: '2026-03-02T08:16:12.400Z',
  waitingFor: { kind: 'decision' },
  question: {
    faultId: EXAMPLE_ID,
    kind: 'outcome_unknown',
    detail: UNKNOWN_EXAMPLE,
    robotId: ROBOT_ID,
    candidates: [
      { kind: 'carrier', robotId: ROBOT_ID },
      { kind: 'position', positionId: POSITION_ID, label: 'C5', containerName: 'Box B-7' },
    ],
    source: HANDOFF_EXAMPLE,
    target: PLACE_EXAMPLE,
    answers: [
      {
        answer: 'at_target',
        needsScan: true,
        needsLockOut: false,
        next: ['release'],
        does: 'The tube is recorded where it was to go and the job ends as completed with a deviation.',
      },
      {
        answer: 'in_carrier',
        needsScan: true,
        needsLockOut: false,
        next: ['release', 'go_on'],
        does: 'The robot puts the tube back where it came from and the job ends; with go_on it reads the label and places the tube.',
      },
    ],
  },
  result: { place: PLACE_EXAMPLE, handoff: HANDOFF_EXAMPLE, robotId: ROBOT_ID, explanation: WHY_EXAMPLE },
  links: { self: `/automation/jobs/${EXAMPLE_ID}` },
  steps: [
    {
      step: 'reserve',
      outcome: 'done',
      detail: { place: PLACE_EXAMPLE, handoff: HANDOFF_EXAMPLE },
      at: '2026-03-02T08:15:00.020Z',
    },
    {
      step: 'park/1',
      outcome: 'parked',
      detail: { faultId: EXAMPLE_ID, kind: 'outcome_unknown', detail: UNKNOWN_EXAMPLE },
      at: '2026-03-02T08:16:12.400Z',
    },
  ],
};

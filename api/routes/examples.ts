import type { z } from '@hono/zod-openapi';
import type { Job, JobWithSteps, Started } from '../../schemas/automation.ts';
import type { PlacementExplanation } from '../../schemas/job-view.ts';
import type { Picklist, PicklistPlan } from '../../schemas/picklist.ts';

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
  priorityName: 'NORMAL',
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
  priorityName: 'NORMAL',
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

const FREEZER_EXAMPLE = { id: '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d08', name: 'Freezer −80 F1' };
const SHELF_EXAMPLE = { id: '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d09', name: 'Shelf 2' };
const BOX_EXAMPLE = { id: CONTAINER_ID, name: 'Box 9×9 B-7' };

export const PICKLIST_EXAMPLE: Picklist = {
  id: EXAMPLE_ID,
  kind: 'retrieval',
  mode: 'robot',
  name: 'Shipment 12',
  priority: 50,
  window: 4,
  state: 'RUNNING',
  counts: { COMPLETED: 1, RUNNING: 1, REFUSED: 1 },
  requestedBy: { userId: EXAMPLE_ID, role: 'lab_technician', stationId: EXAMPLE_ID },
  createdAt: '2026-03-02T08:15:00.000Z',
  links: { self: `/automation/picklists/${EXAMPLE_ID}` },
};

export const PICKLIST_PLAN_EXAMPLE: PicklistPlan = {
  tubes: [
    {
      seq: 1,
      given: 2,
      reference: 'TUBE-000124',
      sampleId: '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d0a',
      place: { path: [FREEZER_EXAMPLE, SHELF_EXAMPLE, BOX_EXAMPLE], label: 'A1' },
      state: 'COMPLETED',
      job: {
        id: '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d0b',
        state: 'COMPLETED',
        phase: 'SETTLED',
        link: '/automation/jobs/0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d0b',
      },
      handoff: HANDOFF_EXAMPLE,
      detail: 'The tube was taken from hand-off A2.',
      finishedAt: '2026-03-02T08:17:12.000Z',
    },
    {
      seq: 2,
      given: 1,
      reference: 'TUBE-000123',
      sampleId: SAMPLE_ID,
      place: { path: [FREEZER_EXAMPLE, SHELF_EXAMPLE, BOX_EXAMPLE], label: 'C5' },
      state: 'RUNNING',
      job: {
        id: EXAMPLE_ID,
        state: 'AWAITING_PERSON',
        phase: 'AT_HANDOFF',
        link: `/automation/jobs/${EXAMPLE_ID}`,
      },
      handoff: HANDOFF_EXAMPLE,
    },
    {
      seq: 3,
      given: 3,
      reference: 'TUBE-000125',
      state: 'REFUSED',
      refusal: {
        code: 'BARCODE_UNKNOWN',
        detail: 'no sample has the barcode TUBE-000125: scan it again, or register it',
      },
    },
  ],
  doors: [{ unit: FREEZER_EXAMPLE, shelf: SHELF_EXAMPLE, from: 1, to: 2 }],
  openings: { planned: { units: 1, shelves: 1 }, asGiven: { units: 1, shelves: 1 } },
};

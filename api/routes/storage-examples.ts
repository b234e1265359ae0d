import type { Location, Sample } from '../../schemas/storage.ts';
import { EXAMPLE_ID } from './examples.ts';

const PATH = [
  { id: EXAMPLE_ID, type: 'site', name: 'Main site' },
  { id: EXAMPLE_ID, type: 'freezer', name: 'F1' },
  { id: EXAMPLE_ID, type: 'box_9x9', name: 'B-7' },
];
export const COUNTS_EXAMPLE = { total: 81, occupied: 20, reserved: 1, blocked: 0, free: 60 };

export const GRID_EXAMPLE = {
  rows: 9,
  columns: 9,
  rowLabels: 'upper',
  columnLabels: 'number',
  labelling: 'two_dimensional',
  direction: 'horizontal',
  origin: 'top_left',
} as const;

export const LOCATION_EXAMPLE: Location = {
  id: EXAMPLE_ID,
  type: 'box_9x9',
  typeName: 'Box 9×9',
  name: 'B-7',
  barcode: 'BOX-7',
  parentId: EXAMPLE_ID,
  path: PATH,
  rules: { zone: '-80', range: { minC: -85, maxC: -60 }, sampleTypes: ['plasma', 'serum'] },
  grid: GRID_EXAMPLE,
  handoff: false,
  robotAddress: { cassette: 2, level: 1 },
  positions: COUNTS_EXAMPLE,
  createdAt: '2026-03-02T08:15:00.000Z',
  version: 1,
};

const WHEREABOUTS = {
  custody: { kind: 'position' as const, positionId: EXAMPLE_ID },
  since: '2026-03-02T08:15:00.000Z',
  witness: 'sensor' as const,
  certainty: 'seen' as const,
  path: PATH,
  position: {
    positionId: EXAMPLE_ID,
    containerId: EXAMPLE_ID,
    containerBarcode: 'BOX-7',
    label: 'C5',
    row: 3,
    column: 5,
    zone: '-80' as const,
  },
};
export const SAMPLE_LOCATION_EXAMPLE = { sampleId: EXAMPLE_ID, ...WHEREABOUTS };

export const SAMPLE_EXAMPLE: Sample = {
  id: EXAMPLE_ID,
  barcode: 'TUBE-000123',
  type: 'plasma',
  project: 'HEART-2',
  zone: '-80',
  ...WHEREABOUTS,
  aiOptimized: true,
  exposureSeconds: 46.2,
  freezeThawCount: 0,
  state: 'stored',
  enteredStorageAt: '2026-03-02T08:15:00.000Z',
  generation: 0,
  subject: 'DONOR-0042',
  quantity: { amount: '450', initial: '500', unit: 'ul' },
  useCount: 1,
  createdAt: '2026-03-02T08:14:00.000Z',
  version: 3,
};

export const TIMELINE_EXAMPLE = {
  entries: [
    {
      eventId: EXAMPLE_ID,
      type: 'storage.sample.placed',
      version: 3,
      entry: 41,
      from: `carrier:${EXAMPLE_ID}`,
      to: `position:${EXAMPLE_ID}`,
      place: { label: 'C5', path: PATH },
      reason: 'placement',
      actor: { userId: EXAMPLE_ID, name: 'Ada Admin', role: 'lab_technician' },
      occurredAt: '2026-03-02T08:15:00.000Z',
      recordedAt: '2026-03-02T08:15:00.000Z',
      data: { sample_id: EXAMPLE_ID, ai_optimized: true },
    },
  ],
};

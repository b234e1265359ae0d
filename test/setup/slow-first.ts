import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take minutes, the longest first: begun last, one of them would run alone while the other worker idles. */
const SLOW = [
  'faults/campaign',
  'workflows/branches',
  'faults/back-doors',
  'workflows/kill',
  'faults/gateway-crash',
  'faults/gateway-wire',
  'faults/restore',
  'workflows/cancel',
  'workflows/timeouts',
  'faults/wire-campaign',
  'stack/backup',
  'faults/worklist-store',
  'faults/picklist',
  'stack/laboratory',
];

/** Runs slow files first, the others in the usual order. */
export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = SLOW.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return at === -1 ? SLOW.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}

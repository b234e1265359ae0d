import { expect } from 'vitest';
import { SCAN_RACK } from '../../../workflows/messages/rack-scan.ts';
import { rackScanStartOptions } from '../../../workflows/messages/start.ts';
import { failure } from '../fakes.ts';
import type { Floor } from '../floor.ts';
import { type Branches, gateAt } from './branch.ts';

/** A scan, as somebody asks a scanner for it. */
async function scanning(floor: Floor, scanId: string) {
  return floor.client.workflow.start(SCAN_RACK, {
    ...rackScanStartOptions({ actor: floor.lab.actor, scanId }),
    taskQueue: floor.taskQueue,
  });
}

export const rackScans: Branches = {
  'rack-scan--read': async (floor) => {
    const id = floor.lab.newId();
    const handle = await scanning(floor, id);
    await handle.result();
    expect(floor.lab.rackScans.get(id)).toBeNull();
    return handle;
  },
  'rack-scan--the-scanner-does-not-answer': async (floor) => {
    const id = floor.lab.newId();
    floor.hooks.set(id, {
      before: ({ name }) => {
        if (name === 'readRack') throw failure('SCANNER_UNAVAILABLE', 'nobody scanned');
      },
    });
    const handle = await scanning(floor, id);
    await handle.result();
    expect(floor.lab.rackScans.get(id)).toBe('nobody scanned');
    return handle;
  },
  'rack-scan--cancelled-in-temporal': async (floor) => {
    const id = floor.lab.newId();
    const gate = gateAt(floor, id, 'readRack');
    const handle = await scanning(floor, id);
    await gate.isReached;
    await handle.cancel();
    gate.open();
    await handle.result();
    expect(floor.lab.rackScans.has(id)).toBe(true);
    return handle;
  },
};

import type { HistoryAndWorkflowId } from '@temporalio/client';
import { NativeConnection } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { BRANCHES } from './branches/index.ts';
import { Floor, replayAll } from './floor.ts';
import { writeHistory } from './history.ts';

/** Set by `npm run histories`: ids are then the same in every run, and the histories are written down. */
const isRecording = process.env.RECORD_HISTORIES === 'true';

const histories: HistoryAndWorkflowId[] = [];
// Held from the first scenario to the replay: with the last connection the native runtime would shut down.
let connection: NativeConnection;
beforeAll(async () => {
  connection = await NativeConnection.connect(temporalServer());
});
afterAll(async () => {
  await replayAll(workflowBundle(), histories);
  await connection.close();
});

// Most of a scenario is waiting: several run beside each other, each on a floor of its own.
Object.entries(BRANCHES).forEach(([name, play], index) => {
  test.concurrent(name, async () => {
    const tenant = `00000000-0000-7000-9000-${index.toString(16).padStart(12, '0')}`;
    const floor = await Floor.open(temporalServer(), workflowBundle(), isRecording ? tenant : undefined);
    try {
      const handle = await play(floor);
      expect(floor.lab.problems()).toEqual([]);
      if (isRecording) writeHistory(name, await handle.fetchHistory());
    } finally {
      await floor.end((ended) => void histories.push(...ended));
    }
  });
});

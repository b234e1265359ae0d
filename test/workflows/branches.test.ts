import { expect, test } from 'vitest';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { BRANCHES } from './branches/index.ts';
import { Floor } from './floor.ts';
import { writeHistory } from './history.ts';

/** Set by `npm run histories`: ids are then the same in every run, and the histories are written down. */
const isRecording = process.env.RECORD_HISTORIES === 'true';

Object.entries(BRANCHES).forEach(([name, play], index) => {
  test(name, async () => {
    const tenant = `00000000-0000-7000-9000-${index.toString(16).padStart(12, '0')}`;
    const floor = await Floor.open(temporalServer(), workflowBundle(), isRecording ? tenant : undefined);
    try {
      const handle = await play(floor);
      expect(floor.lab.problems()).toEqual([]);
      if (isRecording) writeHistory(name, await handle.fetchHistory());
    } finally {
      await floor.close();
    }
  });
});

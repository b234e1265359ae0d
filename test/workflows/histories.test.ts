import { Worker } from '@temporalio/worker';
import { describe, expect, test } from 'vitest';
import * as workflows from '../../workflows/index.ts';
import { workflowBundle } from '../setup/temporal.ts';
import { BRANCHES } from './branches/index.ts';
import { historyNames, readHistory } from './history.ts';

/** Most events a placement may cost: each is a write of the server. */
const PLACEMENT_BUDGET = 60;

const recorded = historyNames();

const workflowOf = (name: string) =>
  readHistory(name).events[0]?.workflowExecutionStartedEventAttributes?.workflowType?.name;

describe('the committed histories', () => {
  test('replay on the workflows as they are', async () => {
    const histories = recorded.map((name) => ({ workflowId: name, history: readHistory(name) }));
    const failed: string[] = [];
    for await (const { workflowId, error } of Worker.runReplayHistories(
      { workflowBundle: workflowBundle() },
      histories,
    )) {
      if (error !== undefined) failed.push(`${workflowId}: ${error.message}`);
    }
    expect(failed).toEqual([]);
  });

  test('are one for each branch, and no other', () => {
    expect(recorded).toEqual(Object.keys(BRANCHES).toSorted());
  });

  test('show every workflow', () => {
    expect(new Set(recorded.map(workflowOf))).toEqual(new Set(Object.keys(workflows)));
  });

  test('of a placement stay within the budget of events', () => {
    const counts = recorded
      .filter((name) => /^(placement|retrieval|move).*--(scanned|handed-over|moved)/.test(name))
      .map((name) => ({ name, events: readHistory(name).events.length }));
    console.log(counts.map(({ name, events }) => `${String(events).padStart(3)} events: ${name}`).join('\n'));
    const over = counts.filter(
      ({ name, events }) => name.startsWith('placement') && events > PLACEMENT_BUDGET,
    );
    expect(over).toEqual([]);
  });
});

import { beforeAll, describe, expect, test } from 'vitest';
import * as workflows from '../../workflows/index.ts';
import { workflowBundle } from '../setup/temporal.ts';
import { BRANCHES } from './branches/index.ts';
import { historyNames, readHistory } from './history.ts';
import { type Replay, replayAll } from './replay.ts';
import type { CodeBranch } from './taken-branches.ts';
import { UNTAKEN } from './untaken-branches.ts';

/** Most events a placement may cost: each is a write of the server. */
const PLACEMENT_BUDGET = 60;

const recorded = historyNames();

const workflowOf = (name: string) =>
  readHistory(name).events[0]?.workflowExecutionStartedEventAttributes?.workflowType?.name;

describe('the committed histories', () => {
  let replay: Replay;
  beforeAll(async () => {
    replay = await replayAll(workflowBundle().codePath);
  });

  test('replay on the workflows as they are', () => {
    expect(replay.failed).toEqual([]);
  });

  test('take every branch of the workflows', () => {
    const { branches } = replay;
    const isListed = ({ file, source, way }: CodeBranch) =>
      UNTAKEN.some((each) => each.file === file && each.ways.includes(way) && source.includes(each.code));
    const untaken = branches.filter(({ isTaken }) => !isTaken);
    const said = ({ file, line, column, way, source }: CodeBranch) =>
      `${file}:${line}:${column} ${way}: ${source}`;
    console.log(
      `${branches.length - untaken.length} of ${branches.length} branches of the workflows are taken`,
    );
    expect(branches.length).toBeGreaterThan(400);
    expect(untaken.filter((branch) => !isListed(branch)).map(said)).toEqual([]);
    // Whoever makes one of them happen takes it off the list.
    const stale = UNTAKEN.flatMap(({ file, code, ways }) =>
      ways
        .filter(
          (way) =>
            !untaken.some((each) => each.file === file && each.way === way && each.source.includes(code)),
        )
        .map((way) => `${file}: ${code}: ${way}`),
    );
    expect(stale).toEqual([]);
  });

  test('are one for each scenario, and no other', () => {
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

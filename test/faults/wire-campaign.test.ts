import { expect, it } from 'vitest';
import { runWireCampaign } from '../setup/wire-campaign.ts';

const SEED = Number(process.env.TRACSEQ_SEED ?? Date.now() % 1_000_000);
const COMMANDS = 200;

it(`classifies no command wrongly, whatever its wire does (TRACSEQ_SEED=${SEED})`, {
  timeout: 240_000,
}, async () => {
  const tallies = await runWireCampaign(SEED, COMMANDS);
  console.table(
    tallies.map(({ wrong, silentlySuccessful, ...counts }) => ({
      ...counts,
      wrong: wrong.length,
      'silently successful': silentlySuccessful.length,
    })),
  );
  for (const tally of tallies) {
    const what = `${tally.driver}, ${tally.disturbance}`;
    expect(tally.wrong, what).toEqual([]);
    expect(tally.silentlySuccessful, what).toEqual([]);
    expect(tally.struck, what).toBe(COMMANDS);
    expect(tally.done + tally.notMoved + tally.unknown, what).toBe(tally.commands);
    // To know nothing would never be wrong. These controllers keep their number, so nearly everything can be known.
    expect(tally.unknown, what).toBeLessThanOrEqual(COMMANDS / 10);
  }
});

import { it } from 'vitest';
import { expectWireCampaign } from '../setup/wire-campaign.ts';

const SEED = Number(process.env.TRACSEQ_SEED ?? Date.now() % 1_000_000);

it(
  `classifies no command wrongly, whatever its wire does, 50 times each (TRACSEQ_SEED=${SEED})`,
  { timeout: 240_000 },
  () => expectWireCampaign(SEED, 50),
);

import { it } from 'vitest';
import { runGatewayCampaign } from '../setup/gateway-campaign.ts';

const SEED = Number(process.env.TRACSEQ_SEED ?? Date.now() % 1_000_000);

it(`moves nothing twice in a long night (TRACSEQ_SEED=${SEED})`, async () => {
  console.log(await runGatewayCampaign(SEED, 500));
});

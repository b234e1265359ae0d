import { it } from 'vitest';
import { runGatewayCampaign } from '../setup/gateway-campaign.ts';

const SEED = Number(process.env.TRACSEQ_SEED ?? Date.now() % 1_000_000);

it(`moves nothing twice, whatever is killed and cut (TRACSEQ_SEED=${SEED})`, {
  timeout: 240_000,
}, async () => {
  console.log(await runGatewayCampaign(SEED, 15));
});

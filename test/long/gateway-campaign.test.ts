import { it } from 'vitest';
import { runGatewayCampaign } from '../setup/gateway-campaign.ts';
import { CELL_DRIVERS } from '../setup/robot-cell.ts';

const SEED = Number(process.env.TRACSEQ_SEED ?? Date.now() % 1_000_000);

it.each(CELL_DRIVERS)(`moves nothing twice on %s in a long night (TRACSEQ_SEED=${SEED})`, async (driver) => {
  console.log(await runGatewayCampaign(driver, SEED, 500));
});

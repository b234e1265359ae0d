import { beforeAll, describe, expect, inject, it } from 'vitest';
import { type Campaign, runCampaign } from './campaign/campaign.ts';
import { allFound } from './campaign/findings.ts';

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
const SAGAS = 100;
const KILLS = 50;

describe(`a laboratory whose parts die (SEED=${SEED})`, () => {
  let campaign: Campaign;
  beforeAll(async () => {
    process.env.TEMPORAL_CLI_PATH = inject('temporalBinary');
    campaign = await runCampaign({
      sagas: SAGAS,
      kills: KILLS,
      seed: SEED,
      cluster: false,
      failFast: false,
      say: (line) => console.log(line),
    });
  }, 20 * 60_000);

  it('loses no tube, moves none twice, and keeps nothing that nobody needs', () => {
    expect(allFound(campaign.findings)).toEqual([]);
    expect(campaign.sagas).toBeGreaterThanOrEqual(SAGAS);
    expect(campaign.kills.length).toBeGreaterThanOrEqual(KILLS);
  });

  it('dies between SENT and the trigger, and in the middle of motions', () => {
    const { windows } = campaign.counts;
    expect(windows.get('SENT, trigger not taken')).toBeGreaterThan(0);
    expect(windows.get('moving')).toBeGreaterThan(0);
  });

  it('survives a power cut that takes what nobody synced', (context) => {
    const { powerCut } = campaign;
    const mustBeCut = process.env.CI === 'true' && process.getuid?.() === 0;
    if (typeof powerCut === 'string' && !mustBeCut) context.skip(powerCut);
    expect(powerCut).toBeInstanceOf(Date);
  });
});

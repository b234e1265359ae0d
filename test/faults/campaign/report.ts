import type { Campaign, CampaignOptions } from './campaign.ts';
import { brokenIn, findingsInWords, isClean } from './findings.ts';

/** The campaign in words and tables. */
export function report({ seed }: CampaignOptions, campaign: Campaign): string[] {
  const { sagas, endings, troubles, answers, kills, counts, findings, powerCut, seconds } = campaign;
  const upperBound = (3 / sagas).toPrecision(2);
  return [
    `seed ${seed}: ${sagas} sagas with ${counts.tubes} tubes and ${counts.motions} motions in ${Math.round(seconds)} s`,
    ...table('sagas by their end', endings),
    ...table('robots’ troubles', troubles),
    ...table('answers of the operator', answers),
    ...table(
      `kills: ${kills.length}${typeof powerCut === 'string' ? `; the power was not cut: ${powerCut}` : ', and the power cut once'}`,
      countBy(kills.map(({ victim }) => victim)),
    ),
    ...table('kills of the gateway by where each robot’s command was', counts.windows),
    ...table(
      'live jobs at the kills, by part and by state and phase',
      countBy(
        kills.flatMap(({ victim, jobs }) => (jobs ?? ['database away']).map((at) => `${victim}: ${at}`)),
      ),
    ),
    'found:',
    ...findingsInWords(findings),
    `  ${counts.entries} ledger entries; ${counts.unknown} tubes of which nobody knows where they are, and the record says so`,
    isClean(findings)
      ? `n = ${sagas}, 3/n = ${upperBound}: with none in ${sagas} sagas, fewer than ${upperBound} a saga go wrong (95 %) under this mix ` +
        'of faults. It bounds this mix, and is not the loss rate of a laboratory.'
      : `broken: ${brokenIn(findings).join('; ')}. Repeat with --seed ${seed}.`,
  ];
}

function countBy(keys: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

function table(title: string, counts: ReadonlyMap<string, number>): string[] {
  const rows = [...counts].sort(([one], [other]) => one.localeCompare(other));
  return [`${title}:`, ...rows.map(([name, count]) => `  ${String(count).padStart(5)}  ${name}`)];
}

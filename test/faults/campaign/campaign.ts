import { setTimeout as sleep } from 'node:timers/promises';
import { cellLabel, cells } from '../../../domain/grid.ts';
import { audit, type Counts } from './audit.ts';
import { Dice } from './dice.ts';
import { type Findings, nothingFound } from './findings.ts';
import { Killer } from './killer.ts';
import { CampaignLaboratory } from './laboratory.ts';
import { type Floor, Lane } from './lane.ts';
import { orderLate } from './latecomer.ts';
import { Hands, Operator } from './operator.ts';
import { JobBoard } from './people.ts';
import { report } from './report.ts';
import { makeTrouble } from './trouble.ts';
import { SomethingFound, Watch } from './watch.ts';

/** People who order from each robot side by side. */
const LANES = 3;
/** Troubles a saga. */
const TROUBLES = 0.4;

export interface CampaignOptions {
  readonly sagas: number;
  readonly kills: number;
  readonly seed: number;
  readonly cluster: boolean;
  /** ends at the first finding: then nothing is compared at the end */
  readonly failFast: boolean;
  readonly say: (line: string) => void;
}

/** What a campaign did and found. */
export interface Campaign {
  readonly sagas: number;
  readonly endings: ReadonlyMap<string, number>;
  readonly troubles: ReadonlyMap<string, number>;
  readonly answers: ReadonlyMap<string, number>;
  readonly kills: Killer['kills'];
  /** when the power was cut, or why it was not */
  readonly powerCut: Date | string;
  readonly findings: Findings;
  readonly counts: Counts;
  readonly seconds: number;
}

/**
 * Lets a whole laboratory with two robots work while its parts are killed, its robots fail and once its power is cut, all by
 * the seed, looks all the time at what must hold at every moment, and compares at the end what is recorded with what is true.
 * @throws Error when the laboratory cannot be started, or looked at in the end
 */
export async function runCampaign(options: CampaignOptions): Promise<Campaign> {
  const { sagas, kills, seed, cluster, failFast, say } = options;
  say(`seed ${seed}: ${sagas} sagas, ${kills} kills${cluster ? ', Temporal as in production' : ''}`);
  const began = Date.now();
  const dice = new Dice(seed);
  const laboratory = await CampaignLaboratory.start({ seed, cluster, say });
  say(`the laboratory runs after ${Math.round((Date.now() - began) / 1000)} s`);
  try {
    const board = new JobBoard(laboratory.client);
    const hands = new Hands();
    const findings = nothingFound();
    const watch = new Watch(laboratory, findings, failFast);
    const operator = new Operator(laboratory.sites, board, hands, dice.fork(1), findings);
    const killer = new Killer(laboratory, dice.fork(2));
    const progress = new Progress(sagas, say);
    const floor: Floor = {
      board,
      hands,
      barcodes: new Set(),
      begin: () => progress.begin(),
      ended: (how) => progress.end(how),
    };
    const lanes = laboratory.sites.flatMap((site, s) => {
      const seats = cells(site.handoff.grid).map((each) => cellLabel(each, site.handoff.grid));
      return Array.from({ length: LANES }, (_, l) => {
        const mine = seats.filter((_seat, index) => index % LANES === l);
        return new Lane(floor, site, `C${seed}-${s}${l}`, mine, dice.fork(10 + s * LANES + l));
      });
    });
    const troubles = new Map<string, number>();
    let powerCut: Date | string = 'no kill came so far';
    const ending = new AbortController();
    const people = Promise.all([
      board.run(ending.signal),
      operator.run(ending.signal),
      watch.run(ending.signal),
    ]);
    const kill = killing(laboratory, killer, progress, kills, dice.fork(3), ending.signal)
      .then((cut) => {
        powerCut = cut;
      })
      .finally(() => progress.release());
    const work = Promise.all([
      ...lanes.map((lane) => lane.run()),
      kill,
      troubling(laboratory, progress, troubles, findings, dice.fork(4)),
    ]);
    // Told by the race, also when they fail second.
    work.catch(() => undefined);
    people.catch(() => undefined);
    let counts: Counts = {
      tubes: floor.barcodes.size,
      unknown: 0,
      motions: 0,
      entries: 0,
      windows: new Map(),
    };
    try {
      await Promise.race([work, people]);
      say(
        `${progress.ended} sagas ended after ${Math.round((Date.now() - began) / 1000)} s; looking where everything is`,
      );
      ending.abort();
      await people;
      await watch.look();
      counts = await audit(laboratory, floor.barcodes, hands, killer.kills, findings);
    } catch (error) {
      if (!(error instanceof SomethingFound)) findings.stoodStill.push(inWords(error));
      say('broken off: nothing was compared');
      ending.abort();
      await kill.catch(() => undefined); // whatever is starting again would outlive the laboratory
    }
    const campaign: Campaign = {
      sagas: progress.ended,
      endings: progress.endings,
      troubles,
      answers: operator.answers,
      kills: killer.kills,
      powerCut,
      findings,
      counts,
      seconds: (Date.now() - began) / 1000,
    };
    for (const line of report(options, campaign)) say(line);
    return campaign;
  } finally {
    await laboratory.close();
  }
}

const inWords = (error: unknown): string =>
  error instanceof Error
    ? [error.message, ...(error.cause === undefined ? [] : [inWords(error.cause)])].join(': ')
    : String(error);

/** Counts sagas. They go on until all kills are done as well. */
class Progress {
  readonly endings = new Map<string, number>();
  ended = 0;
  readonly wanted: number;
  readonly #say: (line: string) => void;
  #begun = 0;
  #mayEnd = false;

  constructor(wanted: number, say: (line: string) => void) {
    this.wanted = wanted;
    this.#say = say;
  }

  begin(): boolean {
    if (this.#mayEnd && this.#begun >= this.wanted) return false;
    this.#begun += 1;
    return true;
  }

  end(how: string): void {
    this.ended += 1;
    this.endings.set(how, (this.endings.get(how) ?? 0) + 1);
    if (this.ended % Math.ceil(this.wanted / 10) === 0) this.#say(`${this.ended} sagas ended`);
  }

  /** The kills are done. */
  release(): void {
    this.#mayEnd = true;
  }

  get isOver(): boolean {
    return this.#mayEnd && this.#begun >= this.wanted;
  }

  /** Until so many sagas have ended, or there will be no more. */
  async until(count: number, ending?: AbortSignal): Promise<void> {
    while (this.ended < count && !this.isOver && ending?.aborted !== true) await sleep(20);
  }
}

/**
 * Spreads the kills evenly over the sagas, and cuts the power once, somewhere in the second third, where that can be done.
 * @returns when the power was cut, or why it was not
 */
async function killing(
  laboratory: CampaignLaboratory,
  killer: Killer,
  progress: Progress,
  kills: number,
  dice: Dice,
  ending: AbortSignal,
): Promise<Date | string> {
  const each = progress.wanted / (kills + 1);
  const cutAt = Math.floor(kills * dice.between(0.33, 0.67));
  const { disk } = laboratory;
  let powerCut: Date | string = typeof disk === 'string' ? disk : 'there were too few kills';
  while (killer.kills.length < kills) {
    await progress.until((killer.kills.length + dice.next()) * each, ending);
    if (ending.aborted) break;
    if (typeof disk !== 'string' && typeof powerCut === 'string' && killer.kills.length >= cutAt) {
      await killer.allBack();
      powerCut = await laboratory.cutPower(disk);
    } else await killer.strike();
  }
  await killer.allBack();
  return powerCut;
}

async function troubling(
  laboratory: CampaignLaboratory,
  progress: Progress,
  troubles: Map<string, number>,
  findings: Findings,
  dice: Dice,
): Promise<void> {
  for (let count = 0; !progress.isOver; count += 1) {
    await progress.until((count + dice.next()) / TROUBLES);
    if (progress.isOver) break;
    const site = dice.pick(laboratory.sites);
    await orderLate(laboratory, site, findings);
    const name = await makeTrouble(site, dice);
    troubles.set(name, (troubles.get(name) ?? 0) + 1);
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import { MOTION_ACCEPTED_CHANNEL } from '../../../db/motion.ts';
import type { Dice } from './dice.ts';
import type { CampaignLaboratory, Victim } from './laboratory.ts';

/** How often each part is chosen, beside the others. */
const WEIGHTS: Readonly<Record<Victim, number>> = {
  'workflow worker': 6,
  'robot gateway': 8,
  PostgreSQL: 4,
  Temporal: 4,
  API: 3,
  'MQTT broker': 2,
  'event relay': 1,
  sweep: 1,
  'simulated robot': 1,
  'second robot': 1,
};

/** Deaths of one part within a minute after which the supervisor would pause. */
const DEATHS_A_MINUTE = 5;
const MINUTE_MS = 61_000;
/** How long an aimed kill waits for its moment before it takes any. */
const AIM_MS = 4_000;

/** Where a command is on its way when the gateway is aimed at. */
const WINDOWS = ['moving', 'trigger lost', 'moving', 'trigger late', 'accepted', 'just ended'] as const;

/** One part killed. */
export interface Kill {
  readonly victim: Victim;
  readonly at: Date;
  /** state and phase of every live job at that moment; null: the database was away */
  readonly jobs: readonly string[] | null;
}

/** Kills parts at seeded moments, mostly aimed at what has been hit least; the gateway always at a command on its way. */
export class Killer {
  readonly kills: Kill[] = [];
  readonly #laboratory: CampaignLaboratory;
  readonly #dice: Dice;
  readonly #coming = new Set<Promise<void>>();
  /** how often the gateway was aimed at */
  #aimed = 0;
  /** parts that are dead or just starting */
  readonly #down = new Set<Victim>();

  constructor(laboratory: CampaignLaboratory, dice: Dice) {
    this.#laboratory = laboratory;
    this.#dice = dice;
  }

  /** Kills one part, now and then a second one with it. Returns when most is running again. */
  async strike(): Promise<void> {
    const victim = this.#choose();
    if (victim === null) {
      await sleep(200);
      return;
    }
    if (victim === 'robot gateway' || this.#dice.chance(0.6)) await this.#aim(victim);
    else await sleep(this.#dice.between(0, 400));
    const second = this.#dice.chance(0.2) ? this.#choose(victim) : null;
    // A motion is over in a moment: who aims at one looks at the jobs afterwards.
    const jobs = victim === 'robot gateway' ? null : await this.#jobsNow();
    for (const each of second === null ? [victim] : [victim, second]) await this.#kill(each, jobs);
    // Mostly the next one dies when this one is back, else while it is still away.
    if (this.#dice.chance(0.8)) await this.allBack();
  }

  /** Waits until everything runs again. */
  async allBack(): Promise<void> {
    await Promise.all(this.#coming);
  }

  async #kill(victim: Victim, jobs: readonly string[] | null): Promise<void> {
    const { at, isBack } = await this.#laboratory.kill(victim);
    this.kills.push({ victim, at, jobs: jobs ?? (await this.#jobsNow()) });
    this.#down.add(victim);
    const back = isBack.finally(() => {
      this.#down.delete(victim);
      this.#coming.delete(back);
    });
    this.#coming.add(back);
    back.catch(() => undefined); // told by `allBack`
  }

  /** By weight, of those that run and have not died too often; null when there is none. */
  #choose(except?: Victim): Victim | null {
    const since = Date.now() - MINUTE_MS;
    const mayDie = (victim: Victim) =>
      victim !== except &&
      !this.#down.has(victim) &&
      this.kills.filter((kill) => kill.victim === victim && kill.at.getTime() > since).length <
        DEATHS_A_MINUTE;
    const candidates = (Object.keys(WEIGHTS) as Victim[])
      .filter(mayDie)
      .flatMap((victim) => new Array<Victim>(WEIGHTS[victim]).fill(victim));
    return candidates.length === 0 ? null : this.#dice.pick(candidates);
  }

  async #jobsNow(): Promise<string[] | null> {
    try {
      const rows = await this.#laboratory.sql<{ at: string }>(
        `SELECT state || ' ' || phase AS at FROM job WHERE finished_at IS NULL`,
      );
      return rows.map(({ at }) => at);
    } catch {
      return null; // dead or starting: then nobody knows
    }
  }

  // ── aiming ────────────────────────────────────────────────────────────────────────────────────────────

  /** Waits for a moment of the kind that this part was killed least in. A database that is away ends the aiming. */
  async #aim(victim: Victim): Promise<void> {
    try {
      if (victim === 'robot gateway') await this.#aimAtMotion();
      else await this.#aimAtPhase(victim);
    } catch {
      // The database is dead as well: any moment is as good.
    }
  }

  /** The phase, of those that any kill has met, in which this part has died least often. */
  async #aimAtPhase(victim: Victim): Promise<void> {
    const met = new Set(this.kills.flatMap(({ jobs }) => jobs ?? []));
    const hits = (phase: string) =>
      this.kills.filter((kill) => kill.victim === victim && kill.jobs?.includes(phase)).length;
    const [wanted] = [...met].sort((one, other) => hits(one) - hits(other) || one.localeCompare(other));
    if (wanted === undefined) return;
    for (const end = Date.now() + AIM_MS; Date.now() < end; ) {
      if ((await this.#jobsNow())?.includes(wanted)) return;
      await sleep(10);
    }
  }

  /**
   * At a command on its way: right after it was accepted, when SENT is committed and its trigger is lost or late on the
   * wire, or while the robot moves.
   */
  async #aimAtMotion(): Promise<void> {
    // Each in its turn: of few kills as well, none is left out.
    const window = WINDOWS[this.#aimed % WINDOWS.length];
    this.#aimed += 1;
    const site = this.#dice.pick(this.#laboratory.sites);
    if (window === 'accepted') return this.#untilAccepted();
    if (window === 'trigger lost') await site.cell.arm({ kind: 'cut_at_trigger', when: 'before' });
    if (window === 'trigger late')
      await site.cell.arm({ kind: 'late_trigger', ms: this.#dice.between(300, 3_000) });
    const isSent = `SELECT 1 FROM motion WHERE robot_id = $1 AND state = 'SENT'`;
    const end = Date.now() + AIM_MS;
    while ((await this.#laboratory.sql(isSent, [site.robotId])).length === 0) {
      if (Date.now() > end) return;
      await sleep(1);
    }
    if (window === 'moving' || window === 'just ended') {
      await site.cell.until('a motion', AIM_MS, ({ motion }) => motion !== null);
      if (window === 'just ended') await site.cell.until('its end', AIM_MS, ({ motion }) => motion === null);
    }
  }

  async #untilAccepted(): Promise<void> {
    let hear: () => void = () => undefined;
    const accepted = new Promise<void>((resolve) => {
      hear = resolve;
    });
    const listening = await this.#laboratory.listen(MOTION_ACCEPTED_CHANNEL, hear);
    await Promise.race([accepted, sleep(AIM_MS)]);
    void listening.end();
  }
}

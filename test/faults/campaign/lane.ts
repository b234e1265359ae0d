import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { cellLabel, cells } from '../../../domain/grid.ts';
import { type Job, Started } from '../../../schemas/automation.ts';
import { SampleLocation } from '../../../schemas/storage.ts';
import { placeOf } from '../../../stack/demo/cell.ts';
import { Refusal } from '../../../stack/demo/client.ts';
import { addressOf } from '../../../stack/demo/store.ts';
import type { Dice } from './dice.ts';
import type { Hands } from './operator.ts';
import { isSeen } from './patient-cell.ts';
import { insist, type JobBoard, must, readJob } from './people.ts';
import type { Site } from './site.ts';

const Anything = z.unknown();

/** How full a store gets before more is taken out than is put in. */
const FULL = 60;

/** Positions of a container that people ask for by name. */
const POPULAR = 4;

/** A hand-over that is refused so often is not repeated. */
const SCANS = 100;

/** How a saga ended: as its job did, or before there was one. */
type Ending = Job['state'] | `not taken: ${string}`;

/** What all lanes share. */
export interface Floor {
  readonly board: JobBoard;
  readonly hands: Hands;
  /** every barcode there ever was */
  readonly barcodes: Set<string>;
  /** takes a saga from those that are left; false when there is none */
  begin(): boolean;
  ended(how: Ending): void;
}

/** The robot takes the tube, or has it. */
const HAS_TUBE: ReadonlySet<Job['phase']> = new Set(['PICKING', 'IN_CARRIER', 'VERIFYING']);

const isThere = ({ state, phase }: Pick<Job, 'state' | 'phase'>): boolean =>
  state === 'AWAITING_PERSON' && phase === 'AT_HANDOFF';

/** One person who orders one saga after the other from a robot, through seats of the hand-off that nobody else uses. */
export class Lane {
  readonly #floor: Floor;
  readonly #site: Site;
  readonly #seats: readonly string[];
  readonly #dice: Dice;
  readonly #name: string;
  #count = 0;

  constructor(floor: Floor, site: Site, name: string, seats: readonly string[], dice: Dice) {
    this.#floor = floor;
    this.#site = site;
    this.#name = name;
    this.#seats = seats;
    this.#dice = dice;
  }

  async run(): Promise<void> {
    while (this.#floor.begin()) {
      this.#count += 1;
      const seat = this.#seats[this.#count % this.#seats.length] ?? '';
      this.#floor.ended(await this.#saga(seat));
    }
  }

  async #saga(seat: string): Promise<Ending> {
    const standing = await this.#tubeIn(seat);
    // An earlier job left it in the hand-off: it is placed again.
    if (standing !== null) return this.#place(standing, seat);
    const { stored } = this.#site;
    const wish = this.#dice.next();
    const barcode = stored.size > 0 ? this.#dice.pick([...stored]) : null;
    if (barcode !== null && wish < (stored.size > FULL ? 0.8 : 0.55)) {
      stored.delete(barcode);
      return wish < 0.25 ? this.#move(barcode) : this.#retrieve(barcode, seat);
    }
    const fresh = `${this.#name}-${this.#count}`;
    this.#floor.barcodes.add(fresh);
    await this.#site.cell.putTube(addressOf(this.#site.handoff, seat), fresh);
    return this.#place(fresh, seat);
  }

  async #place(barcode: string, seat: string): Promise<Ending> {
    const { handoff } = this.#site;
    const order = {
      mode: 'robot',
      target: this.#target(),
      handoff: { location: handoff.barcode, position: seat },
      confirmation: { sampleBarcode: barcode, containerBarcode: handoff.barcode, position: seat },
    };
    const isKnown = (await this.#whereIs(barcode)) !== null;
    const taken = isKnown
      ? await this.#order('/automation/placement', { sample: barcode, ...order })
      : await this.#order('/storage/samples', { barcode, type: 'plasma', zone: '-80', ...order });
    return this.#settle(barcode, seat, taken);
  }

  /** Mostly any position of a container; else one of a few that many name, so that it is often taken, or being taken. */
  #target() {
    const { barcode, grid } = this.#dice.pick(this.#site.containers.slice(1, 3));
    if (this.#dice.chance(0.8)) return { within: barcode };
    const named = this.#dice.pick(cells(grid).slice(0, POPULAR));
    return { location: barcode, position: cellLabel(named, grid) };
  }

  async #move(barcode: string): Promise<Ending> {
    // Anywhere else in the store: a move within its own container is none.
    const order = { mode: 'robot', target: { within: `${this.#site.name}-STORE` } };
    return this.#settle(barcode, null, await this.#order(`/storage/samples/${barcode}/move`, order));
  }

  async #retrieve(barcode: string, seat: string): Promise<Ending> {
    const handoff = { location: this.#site.handoff.barcode, position: seat };
    const job = await this.#order(`/storage/samples/${barcode}/retrieve`, { mode: 'robot', handoff });
    if (job instanceof Refusal) return this.#settle(barcode, seat, job);
    const arrived = await this.#over(job, isThere);
    if (isThere(arrived)) {
      if (this.#dice.chance(0.15)) await this.#cancel(job);
      else await this.#take(job, barcode, seat);
    }
    return this.#settle(barcode, seat, job);
  }

  /** The job when it is over, or as wished; now and then somebody cancels it on the way. */
  async #over({ id }: Job, isReached: (job: Job) => boolean = () => false): Promise<Job> {
    const watched = this.#floor.board.until(id, isReached);
    if (this.#dice.chance(0.12)) {
      // At any moment, or when the robot has the tube.
      const waited = this.#dice.chance(0.5)
        ? sleep(this.#dice.between(0, 2_000))
        : this.#floor.board.until(id, (job) => isReached(job) || HAS_TUBE.has(job.phase));
      await Promise.race([waited, watched]);
      await this.#cancel({ id });
    }
    return watched;
  }

  /** It may be too late for that, which is an answer as well. */
  async #cancel({ id }: Pick<Job, 'id'>): Promise<void> {
    await insist('a cancel', () => this.#site.client.post(`/automation/jobs/${id}/cancel`, {}, Anything));
  }

  /** A hand takes the tube, then it is scanned; who is not believed puts it back. */
  async #take({ id }: Job, barcode: string, seat: string): Promise<void> {
    const { cell, client, handoff } = this.#site;
    if ((await this.#tubeIn(seat)) !== barcode) return; // the robot came for it
    await cell.takeTube(addressOf(handoff, seat));
    if (isSeen(await cell.look(), barcode)) return; // the robot was quicker
    this.#floor.hands.take(barcode);
    for (let times = 1; ; times += 1) {
      const key = `over-${id}-${times}`;
      const said = await insist('a hand-over', () =>
        client.post(`/automation/jobs/${id}/hand-over`, { sampleBarcode: barcode }, Anything, {
          'idempotency-key': key,
        }),
      );
      if (!(said instanceof Refusal) || (await this.#whereIs(barcode))?.custody.kind === 'person') return;
      // A job that just begins to wait may not listen yet: then the tube is scanned again.
      if (!isThere(await readJob(client, id)) || times === SCANS) break;
      await sleep(200);
    }
    if ((await this.#tubeIn(seat)) !== null) return; // another stands there now: it stays in the hand
    await cell.putTube(addressOf(handoff, seat), barcode);
    this.#floor.hands.put(barcode);
  }

  /** Waits for the end of the job, if there is one, and looks where the tube is by the records then. */
  async #settle(barcode: string, seat: string | null, taken: Job | Refusal): Promise<Ending> {
    const ended = taken instanceof Refusal ? taken : await this.#over(taken);
    const { custody } = (await this.#whereIs(barcode)) ?? {};
    if (custody?.kind === 'position') this.#site.stored.add(barcode);
    // Nobody has registered it, or the person who brought it has it still: that person takes it away.
    const isTheirs = custody === undefined || custody.kind === 'person';
    if (isTheirs && seat !== null && (await this.#tubeIn(seat)) === barcode) {
      await this.#site.cell.takeTube(addressOf(this.#site.handoff, seat));
      this.#floor.hands.take(barcode);
    }
    return ended instanceof Refusal ? `not taken: ${ended.code}` : ended.state;
  }

  /** @returns the job, or why the laboratory takes none */
  async #order(path: string, order: unknown): Promise<Job | Refusal> {
    const key = `${this.#name}-${this.#count}`;
    const started = await insist(`the order ${key}`, () =>
      this.#site.client.post(path, order, Started, { 'idempotency-key': key }),
    );
    return started instanceof Refusal ? started : started.job;
  }

  async #whereIs(barcode: string) {
    return must('a look for a tube', () =>
      this.#site.client.find(`/storage/samples/${barcode}/location`, SampleLocation),
    );
  }

  async #tubeIn(seat: string): Promise<string | null> {
    const { positions } = await this.#site.cell.look();
    return positions[placeOf(addressOf(this.#site.handoff, seat))]?.barcode ?? null;
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import { isFinal } from '../../../domain/job.ts';
import { Job, Robot, RobotList } from '../../../schemas/automation.ts';
import { Sample } from '../../../schemas/storage.ts';
import { type Client, Refusal } from '../../../stack/demo/client.ts';
import type { Dice } from './dice.ts';
import type { Findings } from './findings.ts';
import { insist, type JobBoard, must, readJob } from './people.ts';
import {
  isSamePlace,
  labelAt,
  lookEverywhere,
  placeOfPosition,
  placesOf,
  type Site,
  type Whereabouts,
} from './site.ts';

type Question = NonNullable<Job['question']>;
type Answer = Question['answers'][number]['answer'];

const LOOK_EVERY_MS = 200;
/** Answers about one fault that are refused before something is wrong: with the laboratory, or with the operator. */
const REFUSALS = 300;

/** Tubes that people hold. */
export class Hands {
  readonly #held = new Set<string>();

  take(barcode: string): void {
    this.#held.add(barcode);
  }

  put(barcode: string): void {
    this.#held.delete(barcode);
  }

  has(barcode: string): boolean {
    return this.#held.has(barcode);
  }

  get all(): readonly string[] {
    return [...this.#held];
  }
}

/**
 * Somebody who stands before the cells, sees where every tube is, and says so when asked: resets what was stopped, locks a
 * robot out before reaching in, releases robots that a fault holds. All of it by the API, from the station at the robot.
 */
export class Operator {
  readonly #sites: readonly Site[];
  readonly #board: JobBoard;
  readonly #hands: Hands;
  readonly #dice: Dice;
  readonly #barcodes = new Map<string, string>();
  readonly #refused = new Map<string, number>();
  readonly #findings: Findings;
  /** the question that was answered last */
  #lastFaultId: string | null = null;
  /** how often each answer was taken */
  readonly answers = new Map<Answer, number>();

  constructor(sites: readonly Site[], board: JobBoard, hands: Hands, dice: Dice, findings: Findings) {
    this.#findings = findings;
    this.#sites = sites;
    this.#board = board;
    this.#hands = hands;
    this.#dice = dice;
  }

  /** Serves every robot until told to end. */
  async run(ending: AbortSignal): Promise<void> {
    await Promise.all(
      this.#sites.map(async (site, index) => {
        while (!ending.aborted) {
          await this.#serve(site, index === 0);
          await sleep(LOOK_EVERY_MS);
        }
      }),
    );
  }

  /** @param isFirst serves also the jobs that no robot stands still for */
  async #serve(site: Site, isFirst: boolean): Promise<void> {
    const asking = this.#board.live.filter(({ state, question, robotId }) => {
      if (state !== 'AWAITING_OPERATOR' || question === undefined) return false;
      const whose = question.robotId ?? robotId;
      return whose === site.robotId || (isFirst && whose === undefined);
    });
    for (const job of asking) await this.#answer(site, job);
    if (asking.length === 0) await this.#release(site);
  }

  /** Sets right what stopped the robot, and lets it go from the fault that still holds it. */
  async #release(site: Site): Promise<void> {
    const { mode, doorOpen, alarm, lockedOut } = await site.cell.look();
    if (mode !== 'auto' || doorOpen || alarm || lockedOut) await this.#reset(site);
    const { heldFaultId } = await robotOf(site);
    if (heldFaultId === undefined) return;
    const order = { command: 'clear', faultId: heldFaultId };
    const said = await insist('the clearing of a fault', () =>
      site.client.post(`/automation/robots/${site.robotId}/command`, order, Robot),
    );
    // A job asks about the fault meanwhile, or its reset has not been seen: the next look tells.
    if (said instanceof Refusal) this.#wasRefused(heldFaultId, said);
  }

  /** Somebody may press the emergency stop, or open the door, meanwhile: whoever waits for the robot resets it again. */
  #reset(site: Site): Promise<void> {
    const { cell } = site;
    return this.#until(
      site,
      ({ mode, connected }) => mode === 'auto' && connected,
      async () => {
        const { mode, doorOpen, alarm, lockedOut } = await cell.look();
        if (doorOpen) await cell.turn('door', false);
        if (alarm) await cell.turn('alarm', false);
        if (lockedOut) await cell.turn('lock-out', false);
        if (mode !== 'auto') await cell.setMode('auto');
      },
    );
  }

  #lockOut(site: Site): Promise<void> {
    return this.#until(
      site,
      ({ lockedOut, connected }) => lockedOut === true && connected,
      async () => {
        if (!(await site.cell.look()).lockedOut) await site.cell.turn('lock-out', true);
      },
    );
  }

  /** Does it, until the API shows the robot so: what it shows is what answers are judged by. */
  async #until(site: Site, isSo: (robot: Robot) => boolean, act: () => Promise<void>): Promise<void> {
    for (const end = Date.now() + 300_000; ; ) {
      await act();
      const robot = await robotOf(site);
      if (isSo(robot)) return;
      if (Date.now() > end) {
        const { mode, doorOpen, lockedOut } = await site.cell.look();
        throw new Error(
          `the laboratory does not see what was done at ${site.name}: it shows ${JSON.stringify(robot)}, and there is ${JSON.stringify({ mode, doorOpen, lockedOut })}`,
        );
      }
      await sleep(LOOK_EVERY_MS);
    }
  }

  async #answer(site: Site, job: Job): Promise<void> {
    const { question } = job;
    if (question === undefined) return;
    const barcode = await this.#barcodeOf(site.client, job.sampleId);
    const offered = new Map(question.answers.map((each) => [each.answer, each]));
    const wanted = this.#truth(question, offered, await this.#whereIs(barcode));
    const offer = offered.get(wanted.answer);
    if (offer === undefined) {
      throw new Error(`${barcode}: ${wanted.answer} is true, and not offered: ${JSON.stringify(question)}`);
    }
    if (this.#lastFaultId !== null && this.#lastFaultId !== question.faultId)
      await this.#answerFalsely(site, job, this.#lastFaultId, wanted.answer, barcode);
    if (offer.needsLockOut) await this.#lockOut(site);
    if (wanted.answer === 'with_me' || wanted.answer === 'damaged')
      await this.#takeOut(barcode, wanted.place);
    if (offer.needsLockOut) {
      // Half of the people reset the robot first and call it fit, half leave it held and clear it later.
      if (this.#dice.chance(0.5)) await this.#reset(site);
    } else if (!(await isReady(site))) await this.#reset(site);
    const next = this.#dice.pick(offer.next);
    const decision = {
      faultId: question.faultId,
      answer: wanted.answer,
      next,
      lockedOut: offer.needsLockOut,
      robotFit: question.robotId === undefined || (await isReady(site)),
      ...(offer.needsScan && { sampleBarcode: barcode }),
      ...(wanted.answer === 'elsewhere' && wanted.place && { place: this.#positionOf(wanted.place) }),
    };
    const said = await insist('an answer', () =>
      site.client.post(`/automation/jobs/${job.id}/decision`, decision, Job),
    );
    if (said instanceof Refusal) {
      const now = await readJob(site.client, job.id);
      if (!isFinal(now.state) && now.question?.faultId === question.faultId) {
        this.#wasRefused(question.faultId, said);
        return;
      }
      // A first answer whose reply was lost counts; then the second is refused.
    } else this.answers.set(wanted.answer, (this.answers.get(wanted.answer) ?? 0) + 1);
    this.#lastFaultId = question.faultId;
    await this.#answerFalsely(site, job, question.faultId, wanted.answer, barcode);
  }

  /**
   * Somebody at another screen answers a question that is answered, with what is not true (any more). It may be shown there
   * still, also while this job asks something else.
   */
  async #answerFalsely(
    site: Site,
    job: Job,
    faultId: string,
    truth: Answer,
    sampleBarcode: string,
  ): Promise<void> {
    const answer = (['at_target', 'at_source'] as const).find(
      (each) => each !== truth && job.question?.answers.some((offer) => offer.answer === each),
    );
    if (answer === undefined) return;
    const robotFit = job.question?.robotId === undefined;
    const decision = { faultId, answer, next: 'release', lockedOut: false, robotFit, sampleBarcode };
    const said = await insist('a false answer', () =>
      site.client.post(`/automation/jobs/${job.id}/decision`, decision, Job),
    );
    if (!(said instanceof Refusal))
      this.#findings.staleAnswers.push(
        `job ${job.id} took ${answer} about fault ${faultId}, which was answered`,
      );
  }

  /** @throws Error when what was said about the fault is refused for ever */
  #wasRefused(faultId: string, refusal: Refusal): void {
    const times = (this.#refused.get(faultId) ?? 0) + 1;
    this.#refused.set(faultId, times);
    if (times >= REFUSALS)
      throw new Error(`nothing that is said about fault ${faultId} is taken`, { cause: refusal });
  }

  /** What is true, in the words that are offered. */
  #truth(
    question: Question,
    offered: ReadonlyMap<Answer, unknown>,
    where: Whereabouts | 'hands' | null,
  ): { readonly answer: Answer; readonly place: Whereabouts | null } {
    if (where === null) return { answer: 'not_found', place: null };
    if (where === 'hands') return { answer: 'with_me', place: null };
    const isAt = (place: Question['source']) =>
      place !== undefined && isSamePlace(placeOfPosition(this.#sites, place), where);
    if (offered.has('retry_undo') && this.#dice.chance(0.5)) return { answer: 'retry_undo', place: where };
    if (isAt(question.source)) return { answer: 'at_source', place: where };
    if (isAt(question.target)) return { answer: 'at_target', place: where };
    if (where.place === 'carrier') {
      const answer = offered.has('in_carrier') ? 'in_carrier' : 'with_me';
      return { answer, place: where };
    }
    if (where.place === 'floor')
      return { answer: this.#dice.chance(0.2) ? 'damaged' : 'with_me', place: where };
    return { answer: 'elsewhere', place: where };
  }

  async #whereIs(barcode: string): Promise<Whereabouts | 'hands' | null> {
    if (this.#hands.has(barcode)) return 'hands';
    const places = placesOf(await lookEverywhere(this.#sites), barcode);
    if (places.length > 1)
      throw new Error(`${barcode} is in two places: ${places.map((at) => at.place).join(', ')}`);
    return places[0] ?? null;
  }

  /** What lies on the floor, or is to be taken out of the carrier, is in somebody's hands then. */
  async #takeOut(barcode: string, where: Whereabouts | null): Promise<void> {
    if (where?.place === 'carrier') await where.site.cell.emptyCarrier();
    else if (where?.place === 'floor') {
      for (const tube of (await where.site.cell.look()).floor) this.#hands.take(tube.barcode);
      await where.site.cell.sweepFloor();
    } else return;
    this.#hands.take(barcode);
  }

  #positionOf({ site, place }: Whereabouts): { location: string; position: string } {
    for (const container of site.containers) {
      const label = labelAt(container, place);
      if (label !== null) return { location: container.barcode, position: label };
    }
    throw new Error(`nobody knows the place ${place} of ${site.name}`);
  }

  async #barcodeOf(client: Client, sampleId: string): Promise<string> {
    const known = this.#barcodes.get(sampleId);
    if (known !== undefined) return known;
    const { barcode } = await must('a look at a sample', () =>
      client.get(`/storage/samples/${sampleId}`, Sample),
    );
    this.#barcodes.set(sampleId, barcode);
    return barcode;
  }
}

async function robotOf({ client, robotId, name }: Site): Promise<Robot> {
  const { robots } = await must('the robots', () => client.get('/automation/robots', RobotList));
  const robot = robots.find(({ id }) => id === robotId);
  if (robot === undefined) throw new Error(`the laboratory has no robot at ${name}`);
  return robot;
}

/** In automatic mode, by its own switch and by what the laboratory has seen of it. */
async function isReady(site: Site): Promise<boolean> {
  const { mode, doorOpen, alarm, lockedOut } = await site.cell.look();
  return mode === 'auto' && !doorOpen && !alarm && !lockedOut && (await robotOf(site)).mode === 'auto';
}

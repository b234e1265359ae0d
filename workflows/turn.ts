import { condition, setHandler } from '@temporalio/workflow';
import { PRIORITIES } from '../domain/priority.ts';
import { releaseStep } from '../domain/turns.ts';
import { type Steps, steps } from './activities.ts';
import { Deadline, within } from './deadline.ts';
import { serveExpedite } from './expedite.ts';
import { turnGrantedSignal } from './messages/robot.ts';
import { Abandoned, type Process } from './process.ts';

/** The turn of a robot, for one process: asked for, granted with a fence, given back. */
export class Turn {
  readonly #process: Process;
  #priority: number;
  /** of the turn that was asked for */
  #atLeast = 0;
  /** how often the priority has changed: every request that says so has the next number */
  #revision = 0;
  /** how many turns were asked for */
  #number = 0;
  #isAsked = false;
  #robotId = '';
  /**
   * Fences by number of turn. A grant may come before the process knows that it asked: when a worker died after the
   * request went out, the grant stands in the history before the request is made again.
   */
  readonly #fences = new Map<number, number>();
  /** robots by number of turn: a request may have been handed to another one than was asked */
  readonly #robots = new Map<number, string>();

  constructor(process: Process, priority: number) {
    this.#process = process;
    this.#priority = priority;
    setHandler(turnGrantedSignal, ({ turn, fence, robotId }) => {
      // The first is waited for; one that is told again may come at any time.
      if (this.#fences.has(turn)) process.hear();
      // One told again may have been on its way while the fence rose: an old one changes nothing.
      this.#fences.set(turn, Math.max(fence, this.#fences.get(turn) ?? fence));
      this.#robots.set(turn, robotId);
    });
    serveExpedite(process, (changed) => this.#reprioritise(changed));
  }

  /** The fence rose while the turn went on: what was ordered under the old one is refused. */
  refence(fence: number): void {
    this.#fences.set(this.#number, fence);
  }

  get isGranted(): boolean {
    return this.#isAsked && this.#fences.has(this.#number);
  }

  /** The fence of the turn; every motion carries it. */
  get fence(): number {
    const fence = this.#isAsked ? this.#fences.get(this.#number) : undefined;
    if (fence === undefined) throw new Error('a motion was ordered without a turn');
    return fence;
  }

  /** The robot that was asked, or whose turn it is. */
  get robotId(): string {
    return this.#robots.get(this.#number) ?? this.#robotId;
  }

  /**
   * Joins the robot's queue; a second call while asked changes nothing.
   * @param atLeast priority of this turn, where that of the job is lower
   */
  async ask(robotId: string, atLeast = 0): Promise<void> {
    if (this.#isAsked) return;
    this.#number += 1;
    this.#robotId = robotId;
    this.#atLeast = atLeast;
    if (this.#number === 1) {
      this.#process.saga.before('give the turn back', () =>
        this.giveBack(this.#process.undoing('Give the robot’s turn back')),
      );
    }
    this.#isAsked = true;
    await steps('Ask for the robot’s turn').requestTurn(
      this.#process.ref(`request-turn/${this.#number}`),
      robotId,
      Math.max(this.#priority, atLeast),
      this.#number,
      this.#revision,
    );
  }

  /** Takes the place in the queue that the priority gives now; the next turn is asked for with it too. */
  async #reprioritise(priority: number): Promise<void> {
    this.#priority = priority;
    this.#revision += 1;
    if (!this.#isAsked || this.isGranted) return;
    await steps(`Take the place of priority ${priority}`).requestTurn(
      this.#process.ref(`request-turn/${this.#number}/${this.#revision}`),
      this.#robotId,
      Math.max(priority, this.#atLeast),
      this.#number,
      this.#revision,
    );
  }

  /**
   * Waits for the turn.
   * @returns the robot whose turn it is, which may be another than was asked
   * @throws Abandoned when somebody asked to cancel meanwhile
   */
  async take(robotId: string): Promise<string> {
    await this.ask(robotId);
    const { queueMs, notReadyMs } = this.#process.waits;
    const isOver = () => this.isGranted || this.#process.isCancelRequested;
    if (!(await within(Math.min(notReadyMs, queueMs), 'Wait for the robot’s turn', isOver))) {
      await this.#warnNotReady(robotId);
      await within(queueMs - notReadyMs, 'Wait for the robot’s turn, after the warning', isOver);
    }
    if (this.#process.isCancelRequested && !this.isGranted)
      throw new Abandoned('CANCELLED', 'Cancelled while waiting for the robot.');
    if (!this.isGranted)
      throw new Abandoned(
        'FAILED',
        `The robot’s turn did not come within ${Math.round(queueMs / 60_000)} minutes.`,
      );
    this.#process.robotId = this.robotId;
    return this.robotId;
  }

  /**
   * Waits for the turn however long it takes; warns when that is long.
   * @param wait waits until what it is given says so, and answers null then; or with what ended the wait before
   */
  async whenGranted<T>(wait: (until: () => boolean) => Promise<T | null>): Promise<T | null> {
    if (this.isGranted) return wait(() => true);
    const warning = new Deadline(
      this.#process.waits.notReadyMs,
      'Wait for the robot’s turn to put the tube back',
    );
    const answer = await wait(() => this.isGranted || warning.hasPassed);
    warning.stop();
    if (this.isGranted || answer !== null) return answer;
    await this.#warnNotReady(this.robotId);
    return wait(() => this.isGranted);
  }

  async #warnNotReady(robotId: string): Promise<void> {
    const ref = this.#process.ref(`not-ready/${this.#number}`);
    await steps('Why does the turn not come?').warnNotReady(ref, robotId);
  }

  /**
   * Waits for the turn, whoever wants to cancel: for tubes that go back. They warm up meanwhile, so it is urgent.
   * @returns the robot whose turn it is, which may be another than was asked
   */
  async takeForUndo(robotId: string): Promise<string> {
    await this.ask(robotId, PRIORITIES.URGENT);
    await this.whenGranted(async (until) => {
      await condition(until);
      return null;
    });
    this.#process.robotId = this.robotId;
    return this.robotId;
  }

  /** Gives the turn back, or leaves the queue. */
  async giveBack(by: Steps = steps('Give the robot’s turn back')): Promise<string> {
    const { robotId } = this;
    if (!this.#isAsked) return 'There was no turn to give back.';
    await by.releaseTurn(this.#process.ref(releaseStep(this.#number)), robotId, this.#number);
    const hadIt = this.isGranted;
    this.#isAsked = false;
    this.#process.robotId = null;
    return hadIt ? 'The robot’s turn was given back.' : 'The job left the robot’s queue.';
  }
}

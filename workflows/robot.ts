import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  currentUpdateInfo,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { Actor } from '../domain/actor.ts';
import type { Refusal } from '../domain/errors.ts';
import type { RobotOrder } from '../domain/robot-order.ts';
import {
  clearFault,
  enqueue,
  grant,
  hold,
  IDLE_ROBOT,
  nextTurn,
  settle,
  standAs,
  type TurnRequest,
  takeOut,
} from '../domain/turns.ts';
import { steps } from './activities.ts';
import { Deadline } from './deadline.ts';
import { isLong } from './history.ts';
import type { Answer } from './messages/job.ts';
import {
  clearUpdate,
  faultSignal,
  gateFreeSignal,
  maintenanceUpdate,
  pauseUpdate,
  type RobotInput,
  type RobotState,
  releaseTurnSignal,
  requestTurnSignal,
  resumeUpdate,
  robotViewQuery,
} from './messages/robot.ts';
import { refuseForeign } from './process.ts';

const ENDED: Refusal = {
  code: 'WORKFLOWS_UNAVAILABLE',
  detail: 'The robot’s workflow was cancelled before it took the command; send it again.',
};

/** How long the entity waits before it asks again for a turn that another has, in ms; the end of that turn is told. */
const ASK_AGAIN_MS = 10_000;

/** How many requests are offered to other robots in one step, which has to end soon. */
const OFFERED_AT_ONCE = 20;

/** One robot: its state, and what is done when that changes. Messages only change the state; `work` acts on it. */
class RobotEntity {
  readonly #tenantId: string;
  readonly #robotId: string;
  #state: RobotState;
  /** what came before the entity knew where it stands; null from then on */
  #early: ((state: RobotState) => RobotState)[] | null;
  #shown: readonly TurnRequest[] | null = null;
  /** counts what was heard of the robot's standing, so that an answer that was overtaken is known as such */
  #heard = 0;
  #isEnding = false;
  /** another has the turn, or the gate: nothing is asked for until there is news */
  #isTaken = false;
  /** requests that no other robot could take over */
  #offered = new WeakSet<TurnRequest>();
  /** people's commands go one after the other */
  #commands: Promise<unknown> = Promise.resolve();

  constructor({ tenantId, robotId, state }: RobotInput) {
    this.#tenantId = tenantId;
    this.#robotId = robotId;
    this.#state = state ?? IDLE_ROBOT;
    this.#early = state === null ? [] : null;
  }

  get state(): RobotState {
    return this.#state;
  }

  change(to: (state: RobotState) => RobotState): void {
    if (this.#early === null) this.#state = to(this.#state);
    else this.#early.push(to);
  }

  /** A change of the robot's standing. */
  hear(to: (state: RobotState) => RobotState): void {
    this.#heard += 1;
    this.change(to);
  }

  /** A message after which a turn may be free. */
  news(to: (state: RobotState) => RobotState = (state) => state): void {
    this.#isTaken = false;
    this.change(to);
  }

  get hasWork(): boolean {
    return this.#shown !== this.#state.queue || this.#next !== null || this.#toOffer.length > 0;
  }

  get #next(): TurnRequest | null {
    return this.#isTaken ? null : nextTurn(this.#state);
  }

  /** What others may do while this robot is in maintenance. */
  get #toOffer(): readonly TurnRequest[] {
    if (this.#state.dispatch !== 'maintenance') return [];
    return this.#state.queue.filter((each) => !this.#offered.has(each)).slice(0, OFFERED_AT_ONCE);
  }

  /** Waits for work, or for something else; a turn that another has is asked for again after a while. */
  async rest(until: () => boolean): Promise<void> {
    const again = this.#isTaken ? new Deadline(ASK_AGAIN_MS, 'Ask for the turn again') : null;
    await condition(() => this.hasWork || until() || again?.hasPassed === true);
    if (again?.hasPassed) this.#isTaken = false;
    again?.stop();
  }

  /**
   * Begins with what the database knows: an entity that was terminated, or lost with the server, forgets neither that the
   * robot is held, nor whose turn it is, nor who waits.
   */
  async load(): Promise<void> {
    if (this.#early === null) return;
    const known = await steps('Read how the robot stands').loadRobot(this.#tenantId, this.#robotId);
    this.#state = this.#early.reduce((state, change) => change(state), known);
    this.#early = null;
    // Whether the job heard of its turn, nobody knows any more; hearing of it twice is no harm.
    const { current, queue } = this.#state;
    if (current === null) return;
    const granted = await steps('Tell whose turn it is').grantTurn(
      this.#tenantId,
      this.#robotId,
      current,
      queue,
    );
    if (granted === null) this.change((state) => settle(state, current));
  }

  /** Nothing new begins: a command that waits for the entity to know where it stands is sent back. */
  end(): void {
    this.#isEnding = true;
  }

  /** Carries out a person's command, after the ones before it. Its entry in the ledger comes before its effect here. */
  command(order: RobotOrder): Promise<Answer> {
    const key = `${workflowInfo().workflowId}/${currentUpdateInfo()?.id}`;
    const done = CancellationScope.nonCancellable(() =>
      this.#commands.then(() => this.#carryOut(key, order)),
    );
    this.#commands = done.catch(() => undefined);
    return done;
  }

  async #carryOut(key: string, order: RobotOrder): Promise<Answer> {
    await condition(() => this.#early === null || this.#isEnding);
    if (this.#early !== null) return { outcome: 'refused', refusal: ENDED };
    // Commanded again, it looks again whether others can do what waits.
    if (order.command === 'maintenance') this.#offered = new WeakSet();
    const heard = this.#heard;
    const { answer, standing } = await steps(`Command: ${order.command}`).commandRobot(
      this.#robotId,
      key,
      order,
    );
    if (standing !== null) {
      const overtaken = heard !== this.#heard;
      // A fault heard of meanwhile stays: the database refuses the turn if need be, and says why.
      this.hear((state) =>
        standAs(state, overtaken ? { ...standing, heldFaults: state.heldFaults } : standing),
      );
      if (overtaken && order.command === 'clear') this.hear((state) => clearFault(state, order.faultId));
    }
    return answer;
  }

  /**
   * Hands over what another robot can do while this one is in maintenance; grants the turn to whoever is next; then shows
   * the queue to those who look at the robot.
   */
  async work(): Promise<void> {
    const offered = this.#toOffer;
    if (offered.length > 0) {
      for (const each of offered) this.#offered.add(each);
      const moved = await steps('Hand the queue to another robot').handQueueOver(
        this.#tenantId,
        this.#robotId,
        offered,
      );
      this.change((state) => takeOut(state, moved));
    }
    const request = this.#next;
    if (request !== null) {
      const heard = this.#heard;
      const { queue } = this.#state;
      const waiting = queue.filter((each) => each !== request);
      const granted = await steps('Grant the turn').grantTurn(
        this.#tenantId,
        this.#robotId,
        request,
        waiting,
      );
      if (granted === null) {
        // Not remembered: a job that waits at another robot may be handed back.
        this.change((state) => takeOut(state, [request]));
      } else if ('taken' in granted) {
        this.#isTaken = true;
      } else if ('standing' in granted) {
        // The request stays in the queue. What was heard meanwhile is newer: then the database is asked again.
        if (heard === this.#heard) this.change((state) => standAs(state, granted.standing));
      } else {
        const isShown = queue === this.#state.queue;
        this.change((state) => grant(state, request, granted.fence));
        if (isShown) this.#shown = this.#state.queue;
      }
    }
    const { queue } = this.#state;
    if (this.#shown === queue) return;
    await steps('Show the queue').projectRobot(this.#tenantId, this.#robotId, queue);
    this.#shown = queue;
  }
}

/** Entity of one robot: queues requests by priority and grants one turn at a time, through the fence in the database. */
export async function robot(input: RobotInput): Promise<void> {
  const entity = new RobotEntity(input);
  const fromOwnTenant = {
    validator: ({ actor }: { readonly actor: Actor }) => refuseForeign(input.tenantId, actor),
  };
  setHandler(robotViewQuery, () => entity.state);
  setHandler(requestTurnSignal, (request) => entity.news((state) => enqueue(state, request)));
  setHandler(releaseTurnSignal, (key) => entity.news((state) => settle(state, key)));
  setHandler(gateFreeSignal, () => entity.news());
  setHandler(faultSignal, ({ faultId, cleared }) =>
    entity.hear((state) => (cleared ? clearFault(state, faultId) : hold(state, faultId))),
  );
  setHandler(
    pauseUpdate,
    ({ when = 'safe_point', ...by }) => entity.command({ ...by, command: 'pause', when }),
    fromOwnTenant,
  );
  setHandler(maintenanceUpdate, (by) => entity.command({ ...by, command: 'maintenance' }), fromOwnTenant);
  setHandler(resumeUpdate, (by) => entity.command({ ...by, command: 'resume' }), fromOwnTenant);
  setHandler(clearUpdate, (by) => entity.command({ ...by, command: 'clear' }), fromOwnTenant);

  try {
    await entity.load();
    const mustEnd = () => isLong(input.maxHistory);
    while (!mustEnd() || entity.hasWork) {
      await entity.rest(mustEnd);
      await entity.work();
    }
  } finally {
    // Also when it is cancelled in Temporal: a command under way is carried out and answered first.
    entity.end();
    await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  }
  await continueAsNew<typeof robot>({ ...input, state: entity.state });
}

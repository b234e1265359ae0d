import { byUrgency } from './priority.ts';

/** A job that wants, or has, a robot's turn. */
export interface TurnRequest {
  readonly jobId: string;
  /** counts the turns one job asks for, from 1 on */
  readonly turn: number;
  /** workflow that gets the `turnGranted` signal */
  readonly workflowId: string;
  /** 0–100, higher goes first; waiting raises it: domain/priority.ts */
  readonly priority: number;
  /** milliseconds since the epoch, stamped by the activity that asks */
  readonly requestedAt: number;
  /** how often the job's priority has changed since it asked first; left out: never. The newest counts */
  readonly revision?: number;
}

/** A turn that was granted and has not ended. */
export interface GrantedTurn extends TurnRequest {
  readonly fence: number;
}

/**
 * What people want of a robot. `paused`: it rests after the turn under way; `paused_now`: that turn rests as well, after the
 * motion under way; `maintenance`: it rests after the turn under way, and others do what waits for it, if they can.
 */
export type Dispatch = 'running' | 'paused' | 'paused_now' | 'maintenance';

/** Whether a robot may begin a turn; the database has the truth of it. */
export interface Standing {
  readonly dispatch: Dispatch;
  /** faults not resolved yet, oldest first: while there is one, no turn is granted */
  readonly heldFaults: readonly string[];
}

/** What a robot's entity knows: plain data, carried from run to run. */
export interface RobotState extends Standing {
  /** in the order in which turns will be granted */
  readonly queue: readonly TurnRequest[];
  readonly current: GrantedTurn | null;
  /** `job/turn` of turns that ended or were withdrawn, newest last, at most SETTLED_TURNS_KEPT */
  readonly settledTurns: readonly string[];
}

/** How many ended turns are remembered, so that a late repeat of a request does not queue a job twice. */
export const SETTLED_TURNS_KEPT = 200;

/** A robot nobody has asked for anything. */
export const IDLE_ROBOT: RobotState = {
  queue: [],
  current: null,
  dispatch: 'running',
  heldFaults: [],
  settledTurns: [],
};

/** One turn of a job, or with null all of them. */
export interface TurnKey {
  readonly jobId: string;
  readonly turn: number | null;
}

/** Name of the step that gives a turn back: the grant looks for it, since a withdrawal may overtake a grant. */
export const releaseStep = (turn: number | null): string => `${RELEASE_STEP}${turn ?? 'all'}`;
export const RELEASE_STEP = 'release-turn/';

const labelOf = (key: TurnKey): string => `${key.jobId}/${key.turn ?? 'all'}`;
const covers = (key: TurnKey, request: TurnRequest): boolean =>
  key.jobId === request.jobId && (key.turn === null || key.turn === request.turn);

/** Which of two requests goes first: by urgency, which ages, then by the job's id so that the order is total. */
function byOrder(a: TurnRequest, b: TurnRequest): number {
  return byUrgency(a, b) || (labelOf(a) < labelOf(b) ? -1 : 1);
}

/**
 * Queues a request. A repeat of one that has the turn or had it changes nothing; one that waits takes the priority of its
 * newest revision, and keeps the time at which it asked first.
 */
export function enqueue(state: RobotState, request: TurnRequest): RobotState {
  const waits = state.queue.find((waiting) => covers(request, waiting));
  if (waits !== undefined) return revise(state, waits, request);
  const known =
    (state.current !== null && covers(request, state.current)) ||
    state.settledTurns.includes(labelOf(request)) ||
    state.settledTurns.includes(labelOf({ jobId: request.jobId, turn: null }));
  return known ? state : { ...state, queue: [...state.queue, request].sort(byOrder) };
}

/** Signals may overtake each other: an older revision than the one that waits changes nothing. */
function revise(state: RobotState, waits: TurnRequest, { priority, revision = 0 }: TurnRequest): RobotState {
  if (revision <= (waits.revision ?? 0)) return state;
  const queue = state.queue.map((each) => (each === waits ? { ...waits, priority, revision } : each));
  return { ...state, queue: queue.sort(byOrder) };
}

/** Ends a turn, or takes a request out of the queue; one that was never asked for is remembered and stays out. */
export function settle(state: RobotState, key: TurnKey): RobotState {
  const label = labelOf(key);
  if (state.settledTurns.includes(label)) return state;
  return {
    ...state,
    queue: state.queue.some((waiting) => covers(key, waiting))
      ? state.queue.filter((waiting) => !covers(key, waiting))
      : state.queue,
    current: state.current !== null && covers(key, state.current) ? null : state.current,
    settledTurns: [...state.settledTurns, label].slice(-SETTLED_TURNS_KEPT),
  };
}

/**
 * Takes requests out of the queue that wait here no more: their jobs went to another robot, or need no turn. Unlike an ended
 * turn they are not remembered: a job that another robot hands back is queued again.
 */
export function takeOut(state: RobotState, keys: readonly TurnKey[]): RobotState {
  const stays = (waiting: TurnRequest) => !keys.some((key) => covers(key, waiting));
  return state.queue.every(stays) ? state : { ...state, queue: state.queue.filter(stays) };
}

/** The request whose turn it is now; null while the robot works, rests or is held, or nobody waits. */
export function nextTurn(state: RobotState): TurnRequest | null {
  if (state.current !== null || !mayBegin(state)) return null;
  return state.queue[0] ?? null;
}

/** Marks a queued request as having the turn; one withdrawn meanwhile keeps the state as it is. */
export function grant(state: RobotState, request: TurnRequest, fence: number): RobotState {
  if (!state.queue.some((waiting) => covers(request, waiting))) return state;
  return {
    ...state,
    queue: state.queue.filter((waiting) => !covers(request, waiting)),
    current: { ...request, fence },
  };
}

/** Freezes the robot by one more fault. */
export function hold(state: RobotState, faultId: string): RobotState {
  return state.heldFaults.includes(faultId)
    ? state
    : { ...state, heldFaults: [...state.heldFaults, faultId] };
}

/** Resolves one fault; others keep holding. */
export function clearFault(state: RobotState, faultId: string): RobotState {
  return { ...state, heldFaults: state.heldFaults.filter((held) => held !== faultId) };
}

/** Takes over how the robot stands in the database. */
export function standAs(state: RobotState, { dispatch, heldFaults }: Standing): RobotState {
  return { ...state, dispatch, heldFaults };
}

/** Whether a robot that stands like this may begin a turn. */
export function mayBegin({ dispatch, heldFaults }: Standing): boolean {
  return dispatch === 'running' && heldFaults.length === 0;
}

/** Lets the robot work, or rest after the turn under way. */
export function dispatchAs(state: RobotState, dispatch: RobotState['dispatch']): RobotState {
  return { ...state, dispatch };
}

import { of, type Proof } from '../setup/proofs.ts';

/** One point at which something breaks, and what the laboratory promises then. */
export interface CrashPoint {
  /** in the words of the specification */
  readonly point: string;
  readonly promise: string;
  readonly proofs: readonly Proof[];
}

const kill = of('workflows/kill');
const cancel = of('workflows/cancel');
const crash = of('faults/gateway-crash');
const wire = of('faults/gateway-wire');
const worklist = of('faults/worklist-store');
const backDoors = of('faults/back-doors');
const robotJob = of('faults/robot-job');
const parking = of('activities/parking');
const journal = of('activities/gateway-journal');

/** The crash matrix of the specification of physical moves: every point of it, and the tests that force it. */
export const CRASH_MATRIX: readonly CrashPoint[] = [
  {
    point: 'A worker dies in each state',
    promise:
      'The next one replays: the same commands, no second motion. Every state and phase is hit, and counted.',
    proofs: [
      ...kill(
        'a worker killed at every step of a %s costs nothing but time',
        'every state and every phase that a job can be in has met the death of a worker',
      ),
      ...of('workflows/kill-picklist')(
        'a worker killed at every step of a picklist starts no tube twice and leaves none out',
      ),
      ...of('faults/control-worker')(
        'a placement by hand goes on in the next worker when the first is killed, and its tube is moved once',
      ),
      ...of('faults/lease')(
        'workers down for three lease times in mid-motion: what the motion needs is not given away',
      ),
    ],
  },
  {
    point: 'The gateway dies before SENT',
    promise: 'The next one sends the command, once. Hits of each window are counted.',
    proofs: crash(
      'is killed in every window, and between SENT and the trigger above all',
      'before SENT: the next one sends the command, once',
    ),
  },
  {
    point: 'The gateway dies after SENT',
    promise: 'It is never sent again: not taken, the one motion, or nobody knows.',
    proofs: [
      ...crash(
        'after SENT, before the trigger: the next one finds that nothing was taken',
        'after SENT, the trigger lost on its way: the next one finds that nothing was taken',
        'after SENT, the trigger still on its way: it comes to nothing, or to the one motion',
        'after SENT on a controller that has never shown a number: nobody knows',
        'in the middle of the motion: the next one attaches',
      ),
      ...worklist('attaches to the transfer of a gateway that was killed'),
    ],
  },
  {
    point: 'The gateway dies after the motion, before DONE',
    promise: 'The next one reads the result from the controller.',
    proofs: crash('after the motion, before DONE: the next one reads the result'),
  },
  {
    point: 'The TCP connection is cut in the middle of a command',
    promise: 'The one motion is found again.',
    proofs: [
      ...wire(
        'finds the one motion again when the connection ends at the trigger',
        'attaches again after the connection ended in the middle of a motion',
      ),
      ...worklist(
        'finds the one transfer again when the connection ends at the release',
        'attaches again after the connection ended in the middle of a transfer',
      ),
    ],
  },
  {
    point: 'The controller loses power while it holds a tube',
    promise: 'Sensors are read, nothing homes and nothing opens; what cannot be known is UNKNOWN.',
    proofs: [
      ...wire(
        'does not know after a loss of power with the tube in the carrier',
        'does not know after the controller’s program was killed in the middle of a motion',
        'leaves the outcome unknown, whatever really happened',
      ),
      ...crash(
        'with a tube in the carrier and an error: the next one homes nothing, opens nothing, resets nothing',
      ),
      ...worklist('does not know after the store’s program was killed in the middle of a transfer'),
    ],
  },
  {
    point: 'A reply of an old transaction comes late',
    promise: 'It is taken for no other.',
    proofs: [
      ...wire('takes no late reply for another'),
      ...worklist('takes no late reply for another, and lets no late release start anything'),
    ],
  },
  {
    point: 'Two gateways: an old epoch, an old fence',
    promise: 'The resource refuses the older one.',
    proofs: [
      ...wire('leaves a robot to the gateway that took it, and stays away'),
      ...journal(
        'refuses a command without the turn, or under an old fence, and changes nothing',
        'refuses a gateway with a lower epoch, and a job whose turn is over',
        'does not let a SENT slip past a gateway that takes the epoch at the same moment',
      ),
      ...of('faults/restore')('refuses the turns and the gateway from before'),
    ],
  },
  {
    point: 'A reset in Temporal',
    promise: 'The job ends finished, or by a person’s answer; nothing moves twice.',
    proofs: backDoors(
      'reset at every moment, to any of its workflow tasks, ends finished and moves nothing twice',
      'all that was done at each state of a job',
    ),
  },
  {
    point: 'A terminate in Temporal',
    promise: 'The job is parked, never silent.',
    proofs: [
      ...backDoors('terminated at every moment ends finished, or by a person’s answer'),
      ...of('faults/control-worker')(
        'a job whose workflow was terminated waits for the operator, with the alarm raised',
      ),
    ],
  },
  {
    point: 'A job is started twice',
    promise: 'One workflow, by its id; the tube moves once.',
    proofs: [
      ...robotJob(
        'started twice, by the sweep as well as by hand, a job has one workflow and moves its tube once',
      ),
      ...of('api/idempotency')('the same request gets the same reply, ten at once start one process'),
    ],
  },
  {
    point: 'A cancel in every state',
    promise: 'It takes effect at the next safe point, and leaves nothing open.',
    proofs: [
      ...cancel(
        'cancelled by %s at every await leaves nothing open',
        'every state that a job can be in has met a cancel',
      ),
      ...of('workflows/cancel-reconcile')(
        'cancelled by %s at every await asks all the same, and leaves nothing open',
      ),
      ...of('workflows/cancel-robot')('a robot’s entity %s its steps loses no job, no turn and no hold'),
    ],
  },
  {
    point: 'The operator answers twice, or for an old fault',
    promise: 'One answer is taken, the other refused; nothing moves for it.',
    proofs: [
      ...robotJob(
        'an answer for an old fault, and the second of two answers at once, are refused and move nothing',
      ),
      ...of('api/robots')(
        'the operator is asked when a workflow is gone; a stale answer is refused, the true one taken',
      ),
      ...parking(
        'for another fault, with another tube, without one, or impossible, is refused and changes nothing',
      ),
    ],
  },
  {
    point: 'The broker is down',
    promise: 'Jobs run to their end; events go out, in order, when it is back.',
    proofs: [
      ...robotJob(
        'with the broker away a robot’s job runs to its end, and its events go out once the broker is back',
      ),
      ...of('activities/relay')(
        'numbers while the broker is away, and publishes all of it when the broker is back',
      ),
    ],
  },
  {
    point: 'The database is down after the motion',
    promise: 'The journal replays the confirmation.',
    proofs: [
      ...robotJob(
        'with the database gone after the motion the journal replays the confirmation, and nothing moves twice',
      ),
      ...wire('writes the result of a motion during which the database went away'),
    ],
  },
];

/** The matrix as a page for readers. */
export function crashMatrixPage(): string {
  const rows = CRASH_MATRIX.map(({ point, promise, proofs }) => {
    const shown = proofs.map(({ file, title }) => `\`${file}\`: ${title}`).join('<br>');
    return `| ${point} | ${promise} | ${shown} |`;
  });
  return [
    '# Crash matrix',
    '',
    'What breaks, what happens then, and the tests that force it. Generated from `test/faults/crash-matrix.ts` by its test:',
    '`npx vitest run --project real test/faults/crash-matrix.test.ts -u` writes it again.',
    '',
    'The hits are printed by the tests: of every state and phase by `test/workflows/kill.test.ts`, `test/workflows/cancel.test.ts`',
    'and `test/faults/back-doors.test.ts`, of the windows of a command by `test/faults/gateway-crash.test.ts`. Every part dies at',
    'random moments in `npm run faults`.',
    '',
    '| What breaks | What happens | Shown by |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

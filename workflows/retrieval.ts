import { setHandler } from '@temporalio/workflow';
import type { Mark } from '../activities/contract.ts';
import { PRIORITIES } from '../domain/priority.ts';
import { steps } from './activities.ts';
import { Deadline } from './deadline.ts';
import {
  type Confirmation,
  confirmUpdate,
  type HandOver,
  handOverUpdate,
  type JobOutcome,
  type PlaceRef,
} from './messages/job.ts';
import type { RetrievalInput } from './messages/retrieval.ts';
import { Abandoned, type AcceptedReservation, closed, Process } from './process.ts';
import { running } from './site.ts';
import { transfer } from './transfer.ts';
import { Turn } from './turn.ts';

const AWAITING_SCAN: Mark = {
  state: 'AWAITING_PERSON',
  phase: 'AWAITING_CONFIRMATION',
  waitingFor: { kind: 'confirm' },
};
const AT_HANDOFF: Mark = { state: 'AWAITING_PERSON', phase: 'AT_HANDOFF', waitingFor: { kind: 'hand_over' } };

/**
 * Fetches one sample out of its position: by hand to the person; by robot to the hand-off, and from there to the person.
 * A tube nobody collects goes back into its position. The hand-over is the point of no return. Undo: put back, give the
 * turn back, release.
 */
export async function retrieveSample(input: RetrievalInput): Promise<JobOutcome> {
  const process = new Process(input);
  const scans = process.inbox<Confirmation>({ early: input.mode === 'hand' });
  setHandler(confirmUpdate, (scan) => scans.ask(scan), process.fromOwnTenant);
  const handOvers = process.inbox<HandOver>({ early: false });
  setHandler(handOverUpdate, (scan) => handOvers.ask(scan), process.fromOwnTenant);
  let handOverScans = 0;
  const turn = new Turn(process, input.priority);
  process.promiseEarlyAnswer();

  return process.run(async () => {
    process.saga.before('release the reservations', () => process.releaseReservations());
    const reservation = await steps('Reserve the tube').reserveRetrieval(
      process.ref('reserve'),
      input.mode === 'hand' ? AWAITING_SCAN : running('AWAITING_TURN'),
    );
    if (reservation.outcome === 'refused') return process.refuse(reservation);
    process.adoptWaits(reservation.waits);
    process.answerEarly(reservation);
    return input.mode === 'hand' ? takeByHand(reservation) : fetchByRobot(reservation);
  });

  async function takeByHand({ place, leaseExpiresAt }: AcceptedReservation): Promise<JobOutcome> {
    process.show('AWAITING_PERSON', 'AWAITING_CONFIRMATION');
    return process.awaitScan(scans, leaseExpiresAt, `scan of the tube from ${place.label}`, async (scan, n) =>
      closed(
        await steps('Hand the tube out, if the scan is good').confirmTaken(
          process.ref(`confirm/${n}`),
          place,
          scan,
        ),
      ),
    );
  }

  async function fetchByRobot({
    place,
    handoff,
    robotId,
    robotLevel,
    pickupMs,
  }: AcceptedReservation): Promise<JobOutcome> {
    if (handoff === null || robotId === null) throw new Abandoned('FAILED', 'No robot reaches the position.');
    process.show('RUNNING', 'AWAITING_TURN');
    const worker = await turn.take(robotId);
    process.stopIfCancelled('the tube was picked');
    const arrival = await transfer(process, turn, {
      robotId: worker,
      level: robotLevel,
      from: { kind: 'position', place },
      to: { kind: 'handoff', place: handoff },
      arrived: running('AT_HANDOFF'),
    });
    await turn.giveBack();
    if (arrival.at === 'person') {
      return process.finish('COMPLETED_WITH_DEVIATION', 'The operator has the tube.');
    }
    // Only now: who reads that a person is awaited may come at once, and is listened to.
    await steps('Wait for the person').markPhase(process.ref('at-handoff'), AT_HANDOFF);

    const pickup = new Deadline(
      Math.min(pickupMs ?? Number.POSITIVE_INFINITY, process.waits.pickupMs),
      `Wait until the tube is taken from ${handoff.label}`,
    );
    process.show('AWAITING_PERSON', 'AT_HANDOFF');
    const collected = await handedOver(handoff, () => pickup.hasPassed || process.isCancelRequested);
    pickup.stop();
    if (collected !== null) return collected;

    // Until the robot comes for it, the tube may still be taken. A job that was closed meanwhile ends here.
    await steps('Fetch the tube back').markPhase(process.ref('fetch-back'), AT_HANDOFF);
    await turn.ask(worker, PRIORITIES.URGENT);
    const collectedLate = await turn.whenGranted((until) => handedOver(handoff, until));
    if (collectedLate !== null) {
      await turn.giveBack();
      return collectedLate;
    }
    const why = process.isCancelRequested
      ? new Abandoned('CANCELLED', 'Cancelled before the tube was taken.')
      : new Abandoned('FAILED', `Nobody took the tube from hand-off ${handoff.label} in time.`);
    const returner = await turn.takeForUndo(robotId);
    process.show('RUNNING', 'RETURNING');
    const back = await transfer(process, turn, {
      robotId: returner,
      level: robotLevel,
      from: { kind: 'handoff', place: handoff },
      to: { kind: 'position', place },
      arrived: running('RETURNING'),
      isReturn: true,
    });
    if (back.at === 'target')
      throw new Abandoned(why.state, `${why.message} The tube was put back into ${place.label}.`);
    await turn.giveBack();
    return process.finish(
      'COMPLETED_WITH_DEVIATION',
      back.at === 'handoff'
        ? `The operator left the tube in hand-off ${handoff.label}.`
        : 'The operator has the tube.',
    );
  }

  /** The first good scan of the tube at the hand-off, which ends the process; null when the wait ended first. */
  function handedOver(handoff: PlaceRef, until: () => boolean): Promise<JobOutcome | null> {
    return process.takeFirst(handOvers, until, async (scan) => {
      handOverScans += 1;
      const ref = process.ref(`hand-over/${handOverScans}`);
      return closed(await steps('Hand the tube over, if the scan is good').handOver(ref, handoff, scan));
    });
  }
}

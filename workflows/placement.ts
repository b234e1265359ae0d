import { setHandler } from '@temporalio/workflow';
import type { Mark } from '../activities/contract.ts';
import { steps } from './activities.ts';
import { type Confirmation, confirmUpdate, type JobOutcome } from './messages/job.ts';
import type { PlacementInput } from './messages/placement.ts';
import { Abandoned, type AcceptedReservation, type Checked, closed, Process, settled } from './process.ts';
import { running } from './site.ts';
import { transfer } from './transfer.ts';
import { Turn } from './turn.ts';

const AWAITING_SCAN: Mark = {
  state: 'AWAITING_PERSON',
  phase: 'AWAITING_CONFIRMATION',
  waitingFor: { kind: 'confirm' },
};

/**
 * Places one tube: registers it when it is new, reserves a position, and sees the tube put there, by a person's scan or
 * by a robot from the hand-off. Answers early with the position. Undo: put back, give the turn back, release.
 */
export async function placeSample(input: PlacementInput): Promise<JobOutcome> {
  const process = new Process(input);
  const scans = process.inbox<Confirmation>({ early: true });
  setHandler(confirmUpdate, (scan) => scans.ask(scan), process.fromOwnTenant);
  const turn = new Turn(process, input.priority);
  process.promiseEarlyAnswer();

  return process.run(async () => {
    process.saga.before('release the reservations', () => process.releaseReservations());
    const reservation = await steps('Reserve a position').reservePlacement(
      process.ref('reserve'),
      input.confirmation === null ? AWAITING_SCAN : running('RESERVED'),
    );
    if (reservation.outcome === 'refused') return process.refuse(reservation);
    process.adoptWaits(reservation.waits);
    return input.mode === 'hand' ? placeByHand(reservation) : placeByRobot(reservation);
  });

  async function placeByHand(reservation: AcceptedReservation): Promise<JobOutcome> {
    const { place } = reservation;
    return scanned(reservation, `scan of the tube in ${place.label}`, async (scan, n) =>
      closed(
        await steps('Store the tube, if the scan is good').confirmPlaced(
          process.ref(`confirm/${n}`),
          place,
          scan,
        ),
      ),
    );
  }

  async function placeByRobot(reservation: AcceptedReservation): Promise<JobOutcome> {
    const { place, handoff, robotId, robotLevel } = reservation;
    if (handoff === null || robotId === null) throw new Abandoned('FAILED', 'No robot reaches the position.');
    await scanned(reservation, `scan of the tube in hand-off ${handoff.label}`, async (scan, n) =>
      settled(
        await steps('Take the tube at the hand-off, if the scan is good').confirmAtHandoff(
          process.ref(`confirm/${n}`),
          handoff,
          scan,
          running('AWAITING_TURN'),
        ),
      ),
    );
    process.show('RUNNING', 'AWAITING_TURN');
    process.stopIfCancelled('the robot was asked for');
    const worker = await turn.take(robotId);
    process.stopIfCancelled('the tube was picked');
    const arrival = await transfer(process, turn, {
      robotId: worker,
      level: robotLevel,
      from: { kind: 'handoff', place: handoff },
      to: { kind: 'position', place },
      arrived: running('SETTLED'),
    });
    if (arrival.at === 'person') {
      throw new Abandoned('FAILED', 'The operator has the tube; it was not placed.');
    }
    await turn.giveBack();
    return arrival.isDeviation
      ? process.finish('COMPLETED_WITH_DEVIATION', `The tube is in ${place.label}, as the operator said.`)
      : process.finish('COMPLETED', `The robot placed the tube in ${place.label}.`);
  }

  /** The scan that came with the order, which is good or ends the job; else the first good one before the lease ends. */
  async function scanned<R>(
    reservation: AcceptedReservation,
    what: string,
    check: (scan: Confirmation, n: number) => Promise<Checked<R>>,
  ): Promise<R> {
    if (input.confirmation === null) {
      process.show('AWAITING_PERSON', 'AWAITING_CONFIRMATION');
      process.answerEarly(reservation);
      return process.awaitScan(scans, reservation.leaseExpiresAt, what, check);
    }
    const checked = await check(input.confirmation, 0);
    if ('taken' in checked) {
      process.answerEarly(reservation);
      return checked.taken;
    }
    process.answerEarly(checked);
    throw new Abandoned('REFUSED', checked.refusal.detail);
  }
}

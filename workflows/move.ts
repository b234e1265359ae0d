import { setHandler } from '@temporalio/workflow';
import type { Mark } from '../activities/contract.ts';
import { steps } from './activities.ts';
import { type Confirmation, confirmUpdate, type JobOutcome } from './messages/job.ts';
import type { MoveInput } from './messages/move.ts';
import { Abandoned, type AcceptedReservation, closed, Process } from './process.ts';
import { running } from './site.ts';
import { transfer } from './transfer.ts';
import { Turn } from './turn.ts';

const AWAITING_SCAN: Mark = {
  state: 'AWAITING_PERSON',
  phase: 'AWAITING_CONFIRMATION',
  waitingFor: { kind: 'confirm' },
};

/**
 * Moves one tube from its position to another, by a person's scan at the target or by robot. Answers early with the
 * target. Undo: put back, give the turn back, release.
 */
export async function moveSamples(input: MoveInput): Promise<JobOutcome> {
  const process = new Process(input);
  const scans = process.inbox<Confirmation>({ early: input.mode === 'hand' });
  setHandler(confirmUpdate, (scan) => scans.ask(scan), process.fromOwnTenant);
  const turn = new Turn(process, input.priority);
  process.promiseEarlyAnswer();

  return process.run(async () => {
    process.saga.before('release the reservations', () => process.releaseReservations());
    const reservation = await steps('Reserve the target').reserveMove(
      process.ref('reserve'),
      input.mode === 'hand' ? AWAITING_SCAN : running('AWAITING_TURN'),
    );
    if (reservation.outcome === 'refused') return process.refuse(reservation);
    process.adoptWaits(reservation.waits);
    process.answerEarly(reservation);
    return input.mode === 'hand' ? moveByHand(reservation) : moveByRobot(reservation);
  });

  async function moveByHand({ place, leaseExpiresAt }: AcceptedReservation): Promise<JobOutcome> {
    process.show('AWAITING_PERSON', 'AWAITING_CONFIRMATION');
    return process.awaitScan(scans, leaseExpiresAt, `scan of the tube in ${place.label}`, async (scan, n) =>
      closed(
        await steps('Store the tube, if the scan is good').confirmPlaced(
          process.ref(`confirm/${n}`),
          place,
          scan,
        ),
      ),
    );
  }

  async function moveByRobot({
    place,
    source,
    robotId,
    robotLevel,
  }: AcceptedReservation): Promise<JobOutcome> {
    if (source === null || robotId === null)
      throw new Abandoned('FAILED', 'No robot reaches both positions.');
    process.show('RUNNING', 'AWAITING_TURN');
    const worker = await turn.take(robotId);
    process.stopIfCancelled('the tube was picked');
    const arrival = await transfer(process, turn, {
      robotId: worker,
      level: robotLevel,
      from: { kind: 'position', place: source },
      to: { kind: 'position', place },
      arrived: running('SETTLED'),
    });
    if (arrival.at === 'person') {
      throw new Abandoned('FAILED', 'The operator has the tube; it was not moved.');
    }
    await turn.giveBack();
    return arrival.isDeviation
      ? process.finish('COMPLETED_WITH_DEVIATION', `The tube is in ${place.label}, as the operator said.`)
      : process.finish('COMPLETED', `The robot moved the tube from ${source.label} to ${place.label}.`);
  }
}

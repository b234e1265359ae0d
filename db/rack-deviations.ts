import { DomainError } from '../domain/errors.ts';
import { isInCold } from '../domain/exposure.ts';
import { describeZone } from '../domain/placement.ts';
import type { RackPlan } from '../domain/rack-plan.ts';
import type { Change } from './change.ts';
import type { SampleRecord } from './custody.ts';
import { openDeviation } from './deviations.ts';
import type { Place } from './places.ts';
import type { RackScanRecord } from './rack-scans.ts';

/** Tubes as read under their locks, and the places they come from and go to. */
export interface HeldRack {
  readonly tenantId: string;
  readonly samples: ReadonlyMap<string, SampleRecord>;
  readonly places: ReadonlyMap<string, Place>;
}

/** One for each tube that is not there or stands too warm, and one for all that nobody can name. */
export async function openRackDeviations(
  change: Change,
  { tenantId, samples, places }: HeldRack,
  plan: RackPlan,
  scan: RackScanRecord,
): Promise<string[]> {
  const common = { tenantId, jobId: null, robotId: null };
  // The address makes it one a scan: an open one of an earlier scan, or of another box, is another.
  const ofScan = { rack_scan_id: scan.id, address: scan.id };
  const opened: string[] = [];
  for (const { sampleId, label, candidates } of plan.lost) {
    const where =
      candidates.length > 0
        ? `it may be in one of ${candidates.length} positions that were not read`
        : 'it may be anywhere';
    opened.push(
      await openDeviation(change, {
        ...common,
        kind: 'inventory_missing',
        description: `A rack scan did not find the tube in ${label} of ${scan.location}, where it was recorded: ${where}.`,
        sampleId,
        facts: { ...ofScan, position: label, candidates: [...candidates] },
      }),
    );
  }
  for (const { sampleId, positionId, label } of plan.placed) {
    const { zone } = heldOf(samples, sampleId);
    const place = heldOf(places, positionId);
    if (isInCold(place.zone, zone)) continue;
    opened.push(
      await openDeviation(change, {
        ...common,
        kind: 'inventory_moved',
        description: `A rack scan found the tube in ${label} of ${scan.location}, which does not keep it at ${describeZone(zone)}: take it there.`,
        sampleId,
        facts: { ...ofScan, position_id: positionId, zone },
      }),
    );
  }
  if (plan.unexplained.length > 0) {
    opened.push(
      await openDeviation(change, {
        ...common,
        kind: 'inventory_unexpected',
        description: `A rack scan read tubes in ${plan.unexplained.join(', ')} of ${scan.location} that no record has, or whose barcode was read twice: look what they are.`,
        sampleId: null,
        facts: { ...ofScan, positions: [...plan.unexplained] },
      }),
    );
  }
  return opened;
}

/** What was locked before the plan was made: all that the plan names. */
export function heldOf<T>(held: ReadonlyMap<string, T>, id: string): T {
  const found = held.get(id);
  if (found === undefined)
    throw new DomainError('INTERNAL', `${id} was not held while the scan was applied.`);
  return found;
}

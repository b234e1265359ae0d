import type { Database } from '../db/connection.ts';
import type { Waits } from '../domain/waits.ts';
import type { StorageActivities } from './contract.ts';
import { createCustodyActivities } from './custody.ts';
import { createDoubtActivities } from './doubt.ts';
import { createJobActivities } from './job.ts';
import { createParkingActivities } from './parking.ts';
import { createReservationActivities } from './reservation.ts';
import { createScanActivities } from './scans.ts';

export interface StorageDependencies {
  readonly db: Database;
  /** how long a person may take before the position goes to somebody else, in ms; 15 minutes when left out */
  readonly leaseMs?: number;
  /** the laboratory's own waiting times, told to each process by its first step */
  readonly waits?: Partial<Waits>;
}

/** What the processes of the store do to the database: local activities of the control queue. */
export function createStorageActivities(deps: StorageDependencies): StorageActivities {
  return {
    ...createReservationActivities(deps),
    ...createScanActivities(deps),
    ...createCustodyActivities(deps),
    ...createJobActivities(deps),
    ...createParkingActivities(deps),
    ...createDoubtActivities(deps),
  };
}

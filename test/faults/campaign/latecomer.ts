import { acceptMotion } from '../../../db/motion.ts';
import { inTenant } from '../../../db/tenancy.ts';
import { DomainError } from '../../../domain/errors.ts';
import type { Findings } from './findings.ts';
import type { CampaignLaboratory } from './laboratory.ts';
import type { Site } from './site.ts';

/** The last job of a robot that is over and whose tube stands in a position, and the turn it had. */
const PAST = `
  SELECT m.tenant_id AS "tenantId", m.job_id AS "jobId", m.fence::float8 AS fence, s.position_id AS "positionId"
  FROM motion m JOIN job j ON j.tenant_id = m.tenant_id AND j.id = m.job_id
  JOIN sample s ON s.tenant_id = j.tenant_id AND s.id = j.sample_id
  WHERE m.robot_id = $1 AND j.finished_at IS NOT NULL AND s.job_id IS NULL AND s.custody = 'position'
  ORDER BY m.number DESC LIMIT 1`;

/**
 * A worker that stood still for long goes on where it stopped: it orders one more motion for a job whose turn is over. Only
 * the journal can know that, and refuses it.
 */
export async function orderLate(
  laboratory: CampaignLaboratory,
  { robotId, name }: Site,
  findings: Findings,
): Promise<void> {
  try {
    const [past] = await laboratory.sql<{
      readonly tenantId: string;
      readonly jobId: string;
      readonly fence: number;
      readonly positionId: string;
    }>(PAST, [robotId]);
    if (past === undefined) return;
    const order = {
      ...past,
      robotId,
      operation: 'pick',
      commandId: `late/${past.jobId}/${Date.now()}`,
    } as const;
    const { number } = await laboratory.asWorker((db) =>
      inTenant(db, past.tenantId, (tx) => acceptMotion(tx, order)),
    );
    findings.staleOrders.push(
      `${name}: command ${number} of job ${past.jobId} under its fence ${past.fence}`,
    );
  } catch (error) {
    if (error instanceof DomainError && error.code !== 'TURN_LOST') throw error;
    // Refused, as it must be; or the database is dead, and the order with it.
  }
}

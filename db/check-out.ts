import { sql } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import type { ChangeContext } from './change.ts';
import type { Database } from './connection.ts';
import { releaseHeldPlace } from './held-place.ts';
import { seePlace } from './places.ts';
import { type AlsoWriteSample, actOnSample, moveByPerson } from './sample-life.ts';
import { read } from './tenancy.ts';

/** What somebody says who takes a tube out. */
export interface CheckOutRequest {
  /** who has it from now on */
  readonly assigneeId: string;
  readonly dueAt: Date;
  readonly comment: string | null;
  /** the tube's barcode as read; null = the person's word */
  readonly scanned: string | null;
}

/**
 * Gives a tube to somebody until a time. Its position waits for it, blocked with its label.
 * @throws DomainError VALIDATION for a time that is over or somebody who is not here, BARCODE_MISMATCH, SAMPLE_STATE,
 *   SAMPLE_BUSY, NOT_FOUND, BARCODE_UNKNOWN
 */
export function checkOut(
  db: Database,
  context: ChangeContext,
  reference: string,
  request: CheckOutRequest,
  also?: AlsoWriteSample,
): Promise<string> {
  const { tenantId, userId } = context.actor;
  const { assigneeId, dueAt, comment } = request;
  return actOnSample(
    db,
    context,
    reference,
    'check_out',
    async (change, sample) => {
      const { tx, recordedAt } = change;
      requireScan(sample.barcode, request.scanned);
      if (dueAt <= recordedAt) {
        throw invalid(
          '/dueAt',
          `The tube is due back at ${dueAt.toISOString()}, which is over: name a time to come.`,
        );
      }
      const assignee = await tx
        .selectFrom('app_user')
        .select('id')
        .where('tenant_id', '=', tenantId)
        .where('id', '=', assigneeId)
        .where('disabled_at', 'is', null)
        .executeTakeFirst();
      if (!assignee) throw invalid('/assigneeId', `There is nobody here with the user id ${assigneeId}.`);
      const positionId = sample.custody.kind === 'position' ? sample.custody.positionId : null;
      await sql`INSERT INTO check_out (tenant_id, sample_id, assignee_id, due_at, comment, position_id, checked_out_by,
          checked_out_at)
        VALUES (${tenantId}, ${sample.id}, ${assigneeId}, ${dueAt}, ${comment}, ${positionId}, ${userId},
          ${recordedAt})`.execute(tx);
      await moveByPerson(change, tenantId, sample, {
        to: { kind: 'person', userId: assigneeId },
        witness: request.scanned === null ? 'person' : 'barcode',
        type: 'storage.sample.checked_out',
        leaves: positionId === null ? 'free' : 'held',
        isCheckedOut: true,
        data: { assignee_id: assigneeId, due_at: dueAt.toISOString() },
      });
    },
    also,
  );
}

/**
 * Brings a tube back into the position that waits for it.
 * @param scanned its barcode as read; null = the person's word
 * @throws DomainError CONFLICT when no position waits for it, ZONE_MISMATCH, BARCODE_MISMATCH, SAMPLE_STATE, SAMPLE_BUSY,
 *   NOT_FOUND, BARCODE_UNKNOWN
 */
export function checkIn(
  db: Database,
  context: ChangeContext,
  reference: string,
  scanned: string | null,
  also?: AlsoWriteSample,
): Promise<string> {
  const { tenantId } = context.actor;
  return actOnSample(
    db,
    context,
    reference,
    'check_in',
    async (change, sample) => {
      requireScan(sample.barcode, scanned);
      if (!sample.life.isCheckedOut) {
        throw new DomainError('CONFLICT', `Sample ${sample.id} is not checked out: place it.`);
      }
      const place = await releaseHeldPlace(change, tenantId, sample.id);
      if (!place) {
        throw new DomainError(
          'CONFLICT',
          `No position waits for sample ${sample.id}: place it, and its check-out ends with that.`,
        );
      }
      await moveByPerson(change, tenantId, sample, {
        to: { kind: place.isHandoff ? 'handoff' : 'position', positionId: place.positionId },
        witness: scanned === null ? 'person' : 'barcode',
        type: 'storage.sample.checked_in',
        leaves: 'free',
      });
    },
    also,
  );
}

/** Gives up a tube that nobody finds, or that is not where it should be. A held one stays held should it turn up. */
export function giveUpAsLost(
  db: Database,
  context: ChangeContext,
  reference: string,
  also?: AlsoWriteSample,
): Promise<string> {
  const { tenantId } = context.actor;
  return actOnSample(
    db,
    context,
    reference,
    'lose',
    async (change, sample) => {
      const { custody } = sample;
      if (custody.kind === 'position' || custody.kind === 'handoff') {
        const place = await seePlace(change.tx, tenantId, custody.positionId);
        throw new DomainError(
          'CONFLICT',
          `Sample ${sample.id} is recorded in ${place?.label} of ${place?.containerName}: count that container first.`,
        );
      }
      if (sample.life.isCheckedOut) await releaseHeldPlace(change, tenantId, sample.id);
      await moveByPerson(change, tenantId, sample, {
        to: custody.kind === 'unknown' ? custody : { kind: 'unknown', candidates: [{ kind: 'floor' }] },
        witness: 'person',
        type: 'storage.sample.lost',
        leaves: 'free',
        standing: 'lost',
      });
    },
    also,
  );
}

/** @throws DomainError BARCODE_MISMATCH */
export function requireScan(barcode: string, scanned: string | null): void {
  if (scanned === null || scanned === barcode) return;
  throw new DomainError('BARCODE_MISMATCH', 'What was scanned is not this sample: look which tube it is.', {
    errors: [{ pointer: '/sampleBarcode', detail: 'is not the barcode of the sample in the path' }],
  });
}

function invalid(pointer: string, detail: string): DomainError {
  return new DomainError('VALIDATION', detail, { errors: [{ pointer, detail }] });
}

/** A tube that is out. */
export interface OpenCheckOut {
  readonly id: string;
  readonly sampleId: string;
  readonly barcode: string;
  readonly assigneeId: string;
  readonly assigneeName: string;
  readonly dueAt: Date;
  readonly isOverdue: boolean;
  readonly comment: string | null;
  readonly positionId: string | null;
  readonly checkedOutAt: Date;
}

/** Tubes that are out, the one due first first. @param after the last of the page before */
export function listCheckOuts(
  db: Database,
  tenantId: string,
  filter: { readonly overdue: boolean; readonly assigneeId: string | null },
  after: { readonly dueAt: Date; readonly id: string } | null,
  limit: number,
): Promise<OpenCheckOut[]> {
  const conditions = [sql`c.tenant_id = ${tenantId}`, sql`c.checked_in_at IS NULL`];
  if (filter.overdue) conditions.push(sql`c.due_at < now()`);
  if (filter.assigneeId !== null) conditions.push(sql`c.assignee_id = ${filter.assigneeId}`);
  if (after) conditions.push(sql`(c.due_at, c.id) > (${after.dueAt}, ${after.id}::uuid)`);
  return read(
    db,
    tenantId,
    sql<OpenCheckOut>`
      SELECT c.id, c.sample_id AS "sampleId", s.barcode, c.assignee_id AS "assigneeId", u.display_name AS "assigneeName",
             c.due_at AS "dueAt", c.due_at < now() AS "isOverdue", c.comment, c.position_id AS "positionId",
             c.checked_out_at AS "checkedOutAt"
      FROM check_out c
      JOIN sample s ON s.tenant_id = c.tenant_id AND s.id = c.sample_id
      JOIN app_user u ON u.tenant_id = c.tenant_id AND u.id = c.assignee_id
      WHERE ${sql.join(conditions, sql` AND `)} ORDER BY c.due_at, c.id LIMIT ${limit}`.compile(db.kysely),
  );
}

import { randomBytes } from 'node:crypto';
import type { CompiledQuery, Transaction } from 'kysely';
import type pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import type { Actor, SystemActor } from '../domain/actor.ts';
import type { JsonValue } from '../domain/canonical.ts';
import type { Aggregate, EventType } from '../domain/events.ts';
import { type Commitment, commit, encodeContent, encodeLeaf, SALT_BYTES, sha256Hex } from '../domain/leaf.ts';
import type { ReasonCode } from '../domain/reasons.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { statementOf, transact } from './tenancy.ts';

/** Who changes something, why, where and when. */
export interface ChangeContext {
  readonly actor: Actor | SystemActor;
  readonly reason: ReasonCode;
  /** in the person's own words; recorded as a commitment whose value can be erased */
  readonly comment?: string;
  /** label of the device that reported it; the actor's station when left out */
  readonly device?: string | null;
  /** when it happened, if that was before it was recorded */
  readonly occurredAt?: Date;
}

/** A change under way. */
export interface Change {
  readonly tx: Transaction<DB>;
  /** the database's clock when the transaction began, to the millisecond */
  readonly recordedAt: Date;
  /** Announces the new version of one record; once a record and change. */
  record(entry: RecordedChange): void;
  /** Sends a statement in one flush with the entries and the commit: for what is written last and answers nothing. */
  atEnd(query: CompiledQuery): void;
}

/** What happened to one record. */
export interface RecordedChange {
  readonly aggregate: Aggregate;
  readonly aggregateId: string;
  /** the row's version after the change */
  readonly version: number;
  readonly type: EventType;
  /** state or custody before and after, as labels without free text */
  readonly from: string | null;
  readonly to: string | null;
  /** the record's fields before and after; null: there was, or is, none */
  readonly before: Readonly<Record<string, JsonValue>> | null;
  readonly after: Readonly<Record<string, JsonValue>> | null;
  /** fields of before and after (strings or null) that are kept as commitments: barcodes, names, free text */
  readonly erasable?: readonly string[];
  /** data of the event for other services, keys in snake_case; holds nothing that is erasable; gets a `timestamp` */
  readonly data: Readonly<Record<string, JsonValue>>;
}

/**
 * The only way to change a ledgered row: one transaction that holds the rows `body` writes, a record version, a ledger
 * entry and an outbox event for each `record()`. The entries are appended last, in one flush with the commit. Without any
 * `record()` it is plain bookkeeping, and the database refuses it if a ledgered row was touched.
 *
 * ```ts
 * await withChange(db, { actor, reason: 'edit' }, async ({ tx, record }) => {
 *   const row = await tx.updateTable('location').set({ name, version: sql`version + 1` }).where(…).returningAll().executeTakeFirstOrThrow();
 *   record({ aggregate: 'location', aggregateId: row.id, version: row.version, type: 'storage.location.changed', … });
 * });
 * ```
 * `body` may run more than once (serialisation failures and deadlocks are tried again): no effects outside the transaction.
 * @throws TypeError or Error from `record()` for an entry that cannot be recorded; whatever `body` or the database throws
 */
export function withChange<T>(
  db: Database,
  context: ChangeContext,
  body: (change: Change) => Promise<T>,
): Promise<T> {
  return withLedChange(
    db,
    context,
    async () => null,
    (change) => body(change),
  );
}

/**
 * As `withChange`, with a look at the rows that goes out together with BEGIN.
 * @param look what it finds goes to `body`; it knows the tenant, and no time yet
 */
export function withLedChange<T, L>(
  db: Database,
  context: ChangeContext,
  look: (tx: Transaction<DB>) => Promise<L>,
  body: (change: Change, found: L) => Promise<T>,
): Promise<T> {
  return transact(
    db,
    context.actor.tenantId,
    async (tx, recordedAt, found) => {
      const journal = new Journal(context, recordedAt);
      const atEnd: pg.QueryConfig[] = [];
      const result = await body(
        {
          tx,
          recordedAt,
          record: (entry) => journal.record(entry),
          atEnd: (query) => void atEnd.push(statementOf(query)),
        },
        found,
      );
      return { result, last: [...atEnd, ...journal.close()] };
    },
    look,
  );
}

interface EncodedEntry {
  readonly entry: RecordedChange;
  readonly eventId: string;
  readonly content: Buffer;
  readonly leaf: Buffer;
}

interface ErasableValue {
  readonly commitment: Buffer;
  readonly salt: Buffer;
  readonly field: string;
  readonly value: string;
}

/** Collects what one change records, encoded before the log's head is locked. */
class Journal {
  readonly #context: ChangeContext;
  readonly #recordedAt: Date;
  readonly #entries = new Map<string, EncodedEntry>();
  readonly #erasable: ErasableValue[] = [];
  #comment: Commitment | null | undefined;
  #closed = false;

  constructor(context: ChangeContext, recordedAt: Date) {
    this.#context = context;
    this.#recordedAt = recordedAt;
  }

  record(entry: RecordedChange): void {
    if (this.#closed) throw new Error('the change is over: record() belongs into its body');
    const key = `${entry.aggregate}/${entry.aggregateId}`;
    if (this.#entries.has(key)) {
      throw new Error(`${key} is recorded twice in one change: describe both steps in one record()`);
    }
    if (!Number.isInteger(entry.version) || entry.version < 1) {
      throw new TypeError(`${key} is recorded with version ${entry.version}: versions are 1, 2, 3 …`);
    }
    for (const field of entry.erasable ?? []) {
      if (field in entry.data)
        throw new TypeError(`${key}: ${field} is erasable and must not be in the event's data`);
    }
    const { actor } = this.#context;
    const eventId = uuidv7();
    const [before, after] = this.#withCommitments(entry);
    this.#comment ??= this.#context.comment ? this.#committed('comment', this.#context.comment) : null;
    const content = encodeContent({ before, after, comment: this.#comment });
    const leaf = encodeLeaf({
      v: 1,
      log: actor.tenantId,
      event_id: eventId,
      type: entry.type,
      aggregate: entry.aggregate,
      aggregate_id: entry.aggregateId,
      version: entry.version,
      from: entry.from,
      to: entry.to,
      actor: actor.userId,
      role: actor.role,
      device: this.#device(),
      occurred_at: this.#occurredAt().toISOString(),
      recorded_at: this.#recordedAt.toISOString(),
      reason: this.#context.reason,
      payload_sha256: sha256Hex(content),
    });
    this.#entries.set(key, { entry, eventId, content, leaf });
  }

  /** The statements that write what was recorded; the append is the last of them. */
  close(): pg.QueryConfig[] {
    this.#closed = true;
    const entries = [...this.#entries.values()];
    if (entries.length === 0) return [];
    const tenantId = this.#context.actor.tenantId;
    const statements: pg.QueryConfig[] = [
      {
        name: 'insert_record_versions',
        text: `INSERT INTO record_version (tenant_id, recorded_at, aggregate, aggregate_id, version, event_id, content)
               SELECT $1, $2, * FROM unnest($3::text[], $4::uuid[], $5::int[], $6::uuid[], $7::bytea[])`,
        values: [
          tenantId,
          this.#recordedAt,
          entries.map(({ entry }) => entry.aggregate),
          entries.map(({ entry }) => entry.aggregateId),
          entries.map(({ entry }) => entry.version),
          entries.map(({ eventId }) => eventId),
          entries.map(({ content }) => content),
        ],
      },
      {
        name: 'insert_events',
        text: `INSERT INTO event (tenant_id, time, recorded_at, actor, id, type, subject, data)
               SELECT $1, $2, $3, $4, e.id, e.type, e.subject, e.data::jsonb
               FROM unnest($5::uuid[], $6::text[], $7::text[], $8::text[]) AS e (id, type, subject, data)`,
        values: [
          tenantId,
          this.#occurredAt(),
          this.#recordedAt,
          this.#context.actor.userId,
          entries.map(({ eventId }) => eventId),
          entries.map(({ entry }) => entry.type),
          [...this.#entries.keys()],
          entries.map(({ entry }) =>
            JSON.stringify({ timestamp: this.#occurredAt().toISOString(), ...entry.data }),
          ),
        ],
      },
    ];
    if (this.#erasable.length > 0) {
      statements.push({
        name: 'insert_erasable_values',
        text: `INSERT INTO erasable_value (tenant_id, commitment, salt, field, value)
               SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::text[], $5::text[])`,
        values: [
          tenantId,
          this.#erasable.map(({ commitment }) => commitment),
          this.#erasable.map(({ salt }) => salt),
          this.#erasable.map(({ field }) => field),
          this.#erasable.map(({ value }) => value),
        ],
      });
    }
    statements.push({
      name: 'append_to_ledger',
      text: 'SELECT ledger.append($1::bytea[])',
      values: [entries.map(({ leaf }) => leaf)],
    });
    return statements;
  }

  #occurredAt(): Date {
    return this.#context.occurredAt ?? this.#recordedAt;
  }

  #device(): string | null {
    if (this.#context.device !== undefined) return this.#context.device;
    const { stationId } = this.#context.actor;
    return stationId === null ? null : `station:${stationId}`;
  }

  #withCommitments(entry: RecordedChange): [RecordedChange['before'], RecordedChange['after']] {
    const before = entry.before && { ...entry.before };
    const after = entry.after && { ...entry.after };
    for (const field of entry.erasable ?? []) {
      const name = `${entry.aggregate}/${entry.aggregateId}: ${field}`;
      const was = textOrNull(name, before?.[field]);
      const is = textOrNull(name, after?.[field]);
      const committedBefore = was === null ? null : this.#committed(field, was);
      if (before && field in before) before[field] = committedBefore && { ...committedBefore };
      if (after && field in after) {
        // An unchanged value keeps one commitment: the record shows that it did not change.
        const committedAfter = is === null ? null : is === was ? committedBefore : this.#committed(field, is);
        after[field] = committedAfter && { ...committedAfter };
      }
    }
    return [before, after];
  }

  #committed(field: string, value: string): Commitment {
    const salt = randomBytes(SALT_BYTES);
    const commitment = commit(salt, field, value);
    this.#erasable.push({ commitment, salt, field, value });
    return { commitment: commitment.toString('hex') };
  }
}

function textOrNull(name: string, value: JsonValue | undefined): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') throw new TypeError(`${name} is erasable and must be a string or null`);
  return value;
}

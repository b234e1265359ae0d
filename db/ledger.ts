import type pg from 'pg';
import { commit, decodeLeaf, type Leaf, sha256Hex } from '../domain/leaf.ts';
import { CompactRange, leafHash, rootOf } from '../domain/merkle.ts';
import type { Database } from './connection.ts';

/** What is wrong with a ledger, at the first place where something is. */
export interface LedgerFault {
  readonly kind:
    | 'gap' // a sequence number is missing
    | 'leaf_hash' // the leaf is not what was hashed when it was appended
    | 'leaf_format' // the leaf is not a version 1 leaf of this log
    | 'record_version_missing'
    | 'record_version_differs' // the leaf names another record, version or time
    | 'content_hash' // the record version is not what the leaf attests
    | 'event_missing'
    | 'event_differs'
    | 'head' // size or root are not those of the entries
    | 'entry_missing' // a record version has no entry
    | 'version_gap' // a record lacks a version
    | 'erasable_value'; // a value is not the one its commitment stands for
  /** sequence number of the entry; null when the fault is not at an entry */
  readonly seq: number | null;
  readonly eventId: string | null;
  /** one sentence for a person */
  readonly detail: string;
}

/** Outcome of a check of everything a tenant's ledger says. */
export interface IntegrityReport {
  readonly ok: boolean;
  readonly origin: string;
  /** entries according to the log's head */
  readonly size: number;
  /** root of the tree, recomputed from the leaves, in hex */
  readonly root: string;
  readonly entries: number;
  readonly recordVersions: number;
  readonly erasableValues: number;
  /** null when all is well */
  readonly firstFault: LedgerFault | null;
  /** how many faults there are altogether */
  readonly faults: number;
}

/** Rows fetched at a time: a few MB at most, whatever the length of the ledger. */
const BATCH = 1_000;

/**
 * Recomputes a tenant's whole ledger from its stored bytes and compares: leaf hashes, the order without gaps, the root
 * against the log's head, every entry with its record version and its event and the other way round, versions of each
 * record, and the erasable values that are still there. Reads one snapshot by cursor, in constant memory.
 *
 * It finds changed, missing and added rows. It cannot find a ledger that was rewritten as a whole, head included: only a
 * signed checkpoint held elsewhere can.
 * @throws Error when the tenant has no ledger
 */
export async function checkLedger(db: Database, tenantId: string): Promise<IntegrityReport> {
  const client = await db.cursors.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query(`SELECT set_config('app.tenant', $1, true)`, [tenantId]);
    // Everything is read, whatever the statistics say of a young table: joined row by row it would take hours.
    await client.query('SET LOCAL enable_nestloop = off');
    await client.query('SET LOCAL enable_hashjoin = off');
    const report = await checkSnapshot(client, tenantId);
    await client.query('COMMIT');
    client.release();
    return report;
  } catch (error) {
    // Whatever state the connection is in, nobody shall get it.
    client.release(true);
    throw error;
  }
}

async function checkSnapshot(client: pg.PoolClient, tenantId: string): Promise<IntegrityReport> {
  const faults = new Faults();
  const { rows } = await client.query<{ origin: string; size: number; frontier: Buffer[] }>(
    'SELECT origin, size, frontier FROM ledger.log WHERE tenant_id = $1',
    [tenantId],
  );
  const log = rows[0];
  if (!log) throw new Error(`tenant ${tenantId} has no ledger`);

  // First in the order of the log, for the tree.
  const tree = new CompactRange();
  const damaged = new Set<string>();
  let next = 0;
  for await (const entry of cursor<HashedRow>(client, ENTRIES, [tenantId])) {
    if (entry.seq !== next) {
      faults.add('gap', entry, `entry ${next} is missing: entry ${entry.seq} follows on entry ${next - 1}`);
    }
    next = entry.seq + 1;
    const hash = leafHash(entry.leaf);
    if (!hash.equals(entry.leaf_hash)) {
      damaged.add(entry.event_id);
      faults.add('leaf_hash', entry, `entry ${entry.seq}: the leaf is not the one that was appended`);
    }
    tree.append(hash);
  }
  const root = tree.root();
  if (log.size !== tree.size || !root.equals(rootOf(log.frontier))) {
    faults.add(
      'head',
      null,
      `the head says ${log.size} entries with root ${rootOf(log.frontier).toString('hex')}, ` +
        `the entries are ${tree.size} with root ${root.toString('hex')}`,
    );
  }

  // Then by event, beside record versions and events.
  for await (const row of cursor<ComparedRow>(client, COMPARED, [tenantId])) {
    if (row.seq === null) {
      const name = `version ${row.version} of ${row.aggregate} ${row.aggregate_id}`;
      faults.add('entry_missing', row, `${name} has no ledger entry`);
    } else if (!damaged.has(row.event_id)) {
      checkEntry({ ...row, seq: row.seq }, tenantId, faults);
    }
  }

  let recordVersions = 0;
  for await (const version of cursor<VersionRow>(client, VERSIONS, [tenantId])) {
    recordVersions += 1;
    if (version.version !== version.expected) {
      const name = `version ${version.version} of ${version.aggregate} ${version.aggregate_id}`;
      faults.add('version_gap', version, `${name} follows on version ${version.expected - 1}`);
    }
  }

  let erasableValues = 0;
  for await (const value of cursor<ErasableRow>(client, ERASABLE, [tenantId])) {
    erasableValues += 1;
    if (!commit(value.salt, value.field, value.value).equals(value.commitment)) {
      const name = value.commitment.toString('hex');
      faults.add('erasable_value', null, `the value kept for commitment ${name} is another one`);
    }
  }

  return {
    ok: faults.count === 0,
    origin: log.origin,
    size: log.size,
    root: root.toString('hex'),
    entries: tree.size,
    recordVersions,
    erasableValues,
    firstFault: faults.first,
    faults: faults.count,
  };
}

class Faults {
  first: LedgerFault | null = null;
  count = 0;

  add(kind: LedgerFault['kind'], at: { seq?: number | null; event_id: string } | null, detail: string): void {
    this.count += 1;
    const fault = { kind, seq: at?.seq ?? null, eventId: at?.event_id ?? null, detail };
    const isEarlier = fault.seq !== null && fault.seq < (this.first?.seq ?? Number.POSITIVE_INFINITY);
    if (this.first === null || isEarlier) this.first = fault;
  }
}

interface HashedRow {
  readonly seq: number;
  readonly event_id: string;
  readonly leaf: Buffer;
  readonly leaf_hash: Buffer;
}

const ENTRIES = 'SELECT seq, event_id, leaf, leaf_hash FROM ledger.entry WHERE tenant_id = $1 ORDER BY seq';

interface ComparedRow {
  /** null: a record version without an entry */
  readonly seq: number | null;
  readonly event_id: string;
  readonly leaf: Buffer;
  readonly aggregate: string | null;
  readonly aggregate_id: string | null;
  readonly version: number | null;
  readonly content: Buffer | null;
  readonly recorded_at: Date | null;
  readonly event_type: string | null;
  readonly event_subject: string | null;
  readonly event_time: Date | null;
  readonly event_actor: string | null;
}

const COMPARED = `
  SELECT e.seq, coalesce(e.event_id, r.event_id) AS event_id, e.leaf, r.aggregate, r.aggregate_id, r.version, r.content,
         r.recorded_at, v.type AS event_type, v.subject AS event_subject, v.time AS event_time, v.actor AS event_actor
  FROM (SELECT seq, event_id, leaf FROM ledger.entry WHERE tenant_id = $1) e
  FULL JOIN (SELECT * FROM record_version WHERE tenant_id = $1) r ON r.event_id = e.event_id
  LEFT JOIN (SELECT * FROM event WHERE tenant_id = $1) v ON v.id = e.event_id`;

function checkEntry(entry: ComparedRow & { readonly seq: number }, tenantId: string, faults: Faults): void {
  const name = `entry ${entry.seq}`;
  let leaf: Readonly<Record<keyof Leaf, string | number | null>>;
  try {
    leaf = decodeLeaf(entry.leaf);
  } catch (error) {
    faults.add('leaf_format', entry, `${name}: ${error instanceof Error ? error.message : error}`);
    return;
  }
  if (leaf.log !== tenantId || leaf.event_id !== entry.event_id) {
    faults.add('leaf_format', entry, `${name}: the leaf belongs to log ${leaf.log}, event ${leaf.event_id}`);
    return;
  }
  if (entry.content === null) {
    faults.add('record_version_missing', entry, `${name} has no record version`);
  } else {
    const recorded = { aggregate: entry.aggregate, aggregate_id: entry.aggregate_id, version: entry.version };
    const differs = differing(leaf, { ...recorded, recorded_at: entry.recorded_at?.toISOString() ?? null });
    if (differs.length > 0) {
      faults.add(
        'record_version_differs',
        entry,
        `${name}: the record version has another ${differs.join(', ')}`,
      );
    }
    if (sha256Hex(entry.content) !== leaf.payload_sha256) {
      faults.add('content_hash', entry, `${name}: the record version’s content is not the one attested`);
    }
  }
  if (entry.event_type === null) {
    faults.add('event_missing', entry, `${name} has no event`);
  } else {
    const differs = differing(leaf, {
      type: entry.event_type,
      actor: entry.event_actor,
      occurred_at: entry.event_time?.toISOString() ?? null,
    });
    if (entry.event_subject !== `${leaf.aggregate}/${leaf.aggregate_id}`) differs.push('subject');
    if (differs.length > 0) {
      faults.add('event_differs', entry, `${name}: the event has another ${differs.join(', ')}`);
    }
  }
}

/** Names of the fields in which a leaf says something else. */
function differing(
  leaf: Readonly<Record<keyof Leaf, string | number | null>>,
  stored: Partial<Record<keyof Leaf, string | number | null>>,
): string[] {
  return Object.entries(stored)
    .filter(([field, value]) => leaf[field as keyof Leaf] !== value)
    .map(([field]) => field);
}

interface VersionRow {
  readonly aggregate: string;
  readonly aggregate_id: string;
  readonly version: number;
  readonly expected: number;
  readonly event_id: string;
}

const VERSIONS = `
  SELECT aggregate, aggregate_id, version, event_id,
         coalesce(lag(version) OVER (PARTITION BY aggregate, aggregate_id ORDER BY version), 0) + 1 AS expected
  FROM record_version WHERE tenant_id = $1 ORDER BY aggregate, aggregate_id, version`;

interface ErasableRow {
  readonly commitment: Buffer;
  readonly salt: Buffer;
  readonly field: string;
  readonly value: string;
}

const ERASABLE = 'SELECT commitment, salt, field, value FROM erasable_value WHERE tenant_id = $1';

/** Rows of a query, a batch at a time; one cursor at a time a connection. */
async function* cursor<Row extends pg.QueryResultRow>(
  client: pg.PoolClient,
  query: string,
  values: readonly unknown[],
): AsyncGenerator<Row> {
  await client.query(`DECLARE ledger_rows NO SCROLL CURSOR FOR ${query}`, [...values]);
  for (;;) {
    const { rows } = await client.query<Row>(`FETCH ${BATCH} FROM ledger_rows`);
    yield* rows;
    if (rows.length < BATCH) break;
  }
  await client.query('CLOSE ledger_rows');
}

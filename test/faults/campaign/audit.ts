import { custodyLabel } from '../../../domain/custody.ts';
import { cellLabel } from '../../../domain/grid.ts';
import { Integrity } from '../../../schemas/ledger.ts';
import { SampleLocation, Timeline } from '../../../schemas/storage.ts';
import type { LoggedMotions } from '../../../stack/demo/cell.ts';
import type { Findings } from './findings.ts';
import type { Kill } from './killer.ts';
import type { CampaignLaboratory } from './laboratory.ts';
import type { Hands } from './operator.ts';
import { must } from './people.ts';
import {
  isSamePlace,
  lookEverywhere,
  placeOfPosition,
  placesOf,
  type Site,
  type Whereabouts,
} from './site.ts';

/** One line of the journal of motion. */
interface JournalRow {
  readonly robot: string;
  readonly number: number;
  readonly fence: number;
  readonly operation: string;
  readonly state: string;
  readonly accepted: Date;
  readonly sent: Date | null;
  readonly settled: Date | null;
}

/** What a campaign did, counted from the records and the robots' own logs. */
export interface Counts {
  readonly tubes: number;
  readonly unknown: number;
  readonly motions: number;
  readonly entries: number;
  /** kills of the gateway by where its command was then */
  readonly windows: ReadonlyMap<string, number>;
}

/** Tubes looked at side by side. */
const AT_ONCE = 8;

/** Compares the physical truth, the records, the journal and the robots' own logs, and adds what is wrong. */
export async function audit(
  laboratory: CampaignLaboratory,
  barcodes: ReadonlySet<string>,
  hands: Hands,
  kills: readonly Kill[],
  findings: Findings,
): Promise<Counts> {
  findings.orphanLeases.push(...(await orphanLeases(laboratory)));
  findings.openJobs.push(...(await openJobs(laboratory)));
  const unknown = await auditTubes(laboratory, barcodes, hands, findings);
  const { client } = laboratory;
  const integrity = await must('the integrity of the ledger', () =>
    client.get('/blockchain/integrity', Integrity),
  );
  if (!integrity.ok)
    findings.ledger.push(`${integrity.faults} faults: ${JSON.stringify(integrity.firstFault)}`);
  findings.ledger.push(...(await countEntries(laboratory)));

  const journal = await laboratory.sql<JournalRow & { number: number }>(
    `SELECT robot_id AS robot, number::float8 AS number, fence::float8 AS fence, operation, state, accepted_at AS accepted, sent_at AS sent,
            settled_at AS settled FROM motion ORDER BY robot_id, number`,
  );
  const windows = new Map<string, number>();
  let motions = 0;
  for (const site of laboratory.sites) {
    const log = await site.cell.motions();
    motions += log.length;
    const mine = journal.filter(({ robot }) => robot === site.robotId);
    auditMotions(site, log, mine, findings);
    for (const { victim, at } of kills) {
      if (victim !== 'robot gateway') continue;
      const window = windowAt(at, mine, log);
      windows.set(window, (windows.get(window) ?? 0) + 1);
    }
  }
  return { tubes: barcodes.size, unknown, motions, entries: integrity.entries, windows };
}

/** @returns how many tubes the records say nobody knows of */
async function auditTubes(
  laboratory: CampaignLaboratory,
  barcodes: ReadonlySet<string>,
  hands: Hands,
  findings: Findings,
): Promise<number> {
  const { sites } = laboratory;
  const worlds = await lookEverywhere(sites);
  const positions = await positionsOf(laboratory);
  let unknown = 0;
  const waiting = barcodes.values();
  const look = async () => {
    for (const barcode of waiting) {
      const places = placesOf(worlds, barcode);
      const isHeld = hands.has(barcode);
      if (places.length + (isHeld ? 1 : 0) > 1)
        findings.inTwoPlaces.push(
          `${barcode}: ${places.map(({ place }) => place).join(', ')}${isHeld ? ', a hand' : ''}`,
        );
      const truth = isHeld ? 'hands' : (places[0] ?? null);
      const recorded = await recordOf(laboratory, barcode);
      if (recorded === null) {
        // Refused before it was registered: then whoever brought it has it.
        if (truth !== 'hands')
          findings.lost.push(`${barcode} is ${say(truth)}, and nobody has registered it`);
        continue;
      }
      if (recorded.custody.kind === 'unknown') unknown += 1;
      if (!agrees(recorded, truth, sites, positions)) {
        findings.lost.push(`${barcode} is ${say(truth)}, recorded ${JSON.stringify(recorded)}`);
        findings.lost.push(...(await storyOf(laboratory, recorded.sampleId)));
      }
      findings.ledger.push(...(await auditTimeline(laboratory, barcode, recorded)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, look));
  return unknown;
}

const recordOf = ({ client }: CampaignLaboratory, barcode: string): Promise<SampleLocation | null> =>
  must('a look for a tube', () => client.find(`/storage/samples/${barcode}/location`, SampleLocation));

const say = (truth: Whereabouts | 'hands' | null): string =>
  truth === null ? 'nowhere' : truth === 'hands' ? 'in a hand' : `at ${truth.site.name} ${truth.place}`;

/** What the tube's last jobs did, step by step: the laboratory itself is gone when the findings are read. */
async function storyOf(laboratory: CampaignLaboratory, sampleId: string): Promise<string[]> {
  const rows = await laboratory.sql<{ said: string }>(
    `SELECT concat_ws(' ', '  ', j.kind, j.id, j.state, j.phase, s.at, s.step, s.outcome, s.detail) AS said
     FROM (SELECT * FROM job WHERE sample_id = $1 ORDER BY id DESC LIMIT 2) j JOIN job_step s ON s.job_id = j.id
     ORDER BY s.seq`,
    [sampleId],
  );
  return rows.map(({ said }) => said);
}

/** Every position by its id, as the robots find it. */
async function positionsOf(laboratory: CampaignLaboratory): Promise<ReadonlyMap<string, Whereabouts | null>> {
  const rows = await laboratory.sql<{ id: string; container: string; row: number; column: number }>(
    'SELECT id, container_id AS container, grid_row AS row, grid_column AS column FROM position',
  );
  const containers = new Map(
    laboratory.sites.flatMap(({ containers }) => containers.map((each) => [each.id, each])),
  );
  return new Map(
    rows.map(({ id, container, row, column }) => {
      const grid = containers.get(container)?.grid;
      const label = grid === undefined ? null : cellLabel({ row, column }, grid);
      return [
        id,
        label === null ? null : placeOfPosition(laboratory.sites, { containerId: container, label }),
      ];
    }),
  );
}

/** Whether what is recorded of a tube is true; nobody knowing is, when the true place is among the candidates. */
function agrees(
  { custody, position }: SampleLocation,
  truth: Whereabouts | 'hands' | null,
  sites: readonly Site[],
  positions: ReadonlyMap<string, Whereabouts | null>,
): boolean {
  if (truth === null) return false;
  switch (custody.kind) {
    case 'position':
    case 'handoff':
      return (
        truth !== 'hands' && position !== undefined && isSamePlace(placeOfPosition(sites, position), truth)
      );
    case 'carrier':
      return truth !== 'hands' && truth.place === 'carrier' && truth.site.robotId === custody.robotId;
    case 'person':
      return truth === 'hands';
    case 'unknown':
      return custody.candidates.some((candidate) => {
        if (truth === 'hands') return candidate.kind === 'person';
        if (candidate.kind === 'floor') return truth.place === 'floor';
        if (candidate.kind === 'carrier')
          return truth.place === 'carrier' && truth.site.robotId === candidate.robotId;
        return candidate.kind !== 'person' && isSamePlace(positions.get(candidate.positionId) ?? null, truth);
      });
    default:
      return false;
  }
}

/** The ledger has one entry a transition of the tube, one after the other, up to where it is. */
async function auditTimeline(
  { client }: CampaignLaboratory,
  barcode: string,
  { custody }: SampleLocation,
): Promise<string[]> {
  const wrong: string[] = [];
  let before: { version: number; to: string | undefined } = { version: 0, to: undefined };
  for (let cursor = ''; ; ) {
    const query = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await must('a timeline', () =>
      client.get(`/storage/samples/${barcode}/timeline?limit=500${query}`, Timeline),
    );
    for (const { version, from, to } of page.entries) {
      if (version !== before.version + 1)
        wrong.push(`${barcode}: version ${version} follows ${before.version}`);
      if (before.version > 0 && from !== before.to)
        wrong.push(`${barcode}: from ${from}, but it was ${before.to}`);
      before = { version, to };
    }
    if (page.nextCursor === undefined) break;
    cursor = page.nextCursor;
  }
  if (before.to !== custodyLabel(custody)) wrong.push(`${barcode}: the ledger ends at ${before.to}`);
  return wrong;
}

/** Every version of a record has one entry, and every entry is a version of a record. */
async function countEntries(laboratory: CampaignLaboratory): Promise<string[]> {
  const [row] = await laboratory.sql<{
    versions: number;
    recorded: number;
    entries: number;
    all_recorded: number;
  }>(
    `SELECT (SELECT sum(version) FROM sample)::int AS versions,
            (SELECT count(*) FROM record_version WHERE aggregate = 'sample')::int AS recorded,
            (SELECT count(*) FROM ledger.entry)::int AS entries,
            (SELECT count(*) FROM record_version)::int AS all_recorded`,
  );
  const wrong: string[] = [];
  if (row?.versions !== row?.recorded)
    wrong.push(`samples changed ${row?.versions} times, the ledger says ${row?.recorded}`);
  if (row?.entries !== row?.all_recorded)
    wrong.push(`${row?.entries} entries for ${row?.all_recorded} versions of records`);
  return wrong;
}

/** Places, tubes and turns of jobs that are over. A place where a lost tube may be stays taken: that is no orphan. */
async function orphanLeases(laboratory: CampaignLaboratory): Promise<string[]> {
  const rows = await laboratory.sql<{ what: string }>(
    `SELECT 'position ' || p.id || ' by job ' || j.id AS what FROM position p
       JOIN job j ON j.tenant_id = p.tenant_id AND j.id = p.job_id
       LEFT JOIN sample s ON s.tenant_id = j.tenant_id AND s.id = j.sample_id
       WHERE j.finished_at IS NOT NULL AND s.custody IS DISTINCT FROM 'unknown'
     UNION ALL SELECT 'sample ' || s.id || ' by job ' || j.id FROM sample s
       JOIN job j ON j.tenant_id = s.tenant_id AND j.id = s.job_id WHERE j.finished_at IS NOT NULL
     UNION ALL SELECT 'turn of robot ' || t.robot_id || ' by job ' || j.id FROM robot_turn t
       JOIN job j ON j.tenant_id = t.tenant_id AND j.id = t.job_id WHERE j.finished_at IS NOT NULL`,
  );
  return rows.map(({ what }) => what);
}

/** Jobs that are neither over nor wait for a person. */
async function openJobs(laboratory: CampaignLaboratory): Promise<string[]> {
  const rows = await laboratory.sql<{ what: string }>(
    `SELECT id || ' ' || state || ' ' || phase AS what FROM job
     WHERE finished_at IS NULL AND state NOT IN ('AWAITING_PERSON', 'AWAITING_OPERATOR')`,
  );
  return rows.map(({ what }) => what);
}

/**
 * The robot's own log beside the journal: each number once, only what was sent, not before it was, under turns that follow one
 * another, and what is DONE was done.
 */
function auditMotions(
  { name }: Site,
  log: LoggedMotions,
  journal: readonly JournalRow[],
  findings: Findings,
): void {
  const logged = new Map<number, LoggedMotions[number]>();
  for (const motion of log) {
    if (logged.has(motion.number)) findings.movedTwice.push(`${name}: number ${motion.number}`);
    logged.set(motion.number, motion);
  }
  const known = new Map(journal.map((row) => [row.number, row]));
  for (const { number, operation, startedAt } of log) {
    const row = known.get(number);
    if (row?.sent == null || row.operation !== operation)
      findings.journal.push(
        `${name}: the robot did ${operation} ${number}, the journal has ${JSON.stringify(row)}`,
      );
    else if (new Date(startedAt) < row.sent)
      findings.journal.push(
        `${name}: the robot began ${operation} ${number} at ${startedAt}, SENT was committed after ${row.sent.toISOString()}`,
      );
  }
  let turn = 0;
  for (const { number, state, fence, sent } of journal) {
    if (sent !== null && fence < turn)
      findings.journal.push(
        `${name}: motion ${number} was sent under fence ${fence} after one under ${turn}`,
      );
    if (sent !== null) turn = fence;
    if (state === 'DONE' && logged.get(number)?.result !== 'done')
      findings.journal.push(
        `${name}: motion ${number} is DONE, the robot says ${logged.get(number)?.result}`,
      );
  }
}

/** Where the robot's command was at this moment. */
function windowAt(at: Date, journal: readonly JournalRow[], log: LoggedMotions): string {
  const row = journal.find(({ accepted, settled }) => accepted <= at && (settled === null || at < settled));
  if (row === undefined) return 'no command under way';
  if (row.sent === null || at < row.sent) return 'accepted, not SENT';
  const motion = log.find(({ number }) => number === row.number);
  if (motion === undefined || at < new Date(motion.startedAt)) return 'SENT, trigger not taken';
  return at < new Date(motion.endedAt) ? 'moving' : 'ended, result not written';
}

import { of, type Proof } from '../setup/proofs.ts';

/** Something users of inventory systems ask for, and how it is answered here. */
export interface Answer {
  readonly ask: string;
  /** in a sentence or two */
  readonly answer: string;
  /** method and path, as the OpenAPI document has them */
  readonly endpoints: readonly string[];
  readonly proofs: readonly Proof[];
  /** what is not there yet; left out: nothing of it */
  readonly missing?: string;
}

const bulk = of('api/bulk');
const scans = of('api/rack-scans');
const life = of('api/sample-life');
const storage = of('api/storage');
const structure = of('activities/structure');
const rules = of('activities/rules');
const diff = of('unit/rack-diff');

/** The seventeen things users of other systems ask for most. */
export const REQUESTS: readonly Answer[] = [
  {
    ask: 'Stop two things in one position',
    answer:
      'A position has one row, and a sample in it is unique in the database: whoever comes second is refused and told of the next free one.',
    endpoints: ['POST /storage/samples', 'POST /storage/samples/{id}/move'],
    proofs: [
      ...of('activities/storage-invariants')(
        'a sample in two positions is refused',
        'two samples that name one position are refused',
      ),
      ...of('api/last-position')(
        '64 clients ask for the last position: one gets it, the others are told of the next one elsewhere',
      ),
    ],
  },
  {
    ask: 'Move in place, keeping id and history',
    answer: 'A move is new entries of the same sample; its timeline goes on.',
    endpoints: ['POST /storage/samples/{id}/move', 'GET /storage/samples/{id}/timeline'],
    proofs: of('api/processes')('is moved, then taken out, by id or barcode'),
  },
  {
    ask: 'Move tens to hundreds at once',
    answer: 'One request, looked at before it is done, all or nothing or the valid ones.',
    endpoints: ['POST /storage/moves', 'GET /storage/bulk/{id}/problems'],
    proofs: bulk(
      'is recorded by a person’s word, after a dry run that changes nothing',
      'refuse a row as they refuse a placement, each with what would be right',
    ),
  },
  {
    ask: 'Evacuate a dying freezer to identical positions',
    answer: 'A rack or freezer is copied with its layout, empty, and moved in the tree with what is inside.',
    endpoints: ['POST /storage/locations/{id}/replicate', 'PUT /storage/locations/{id}/parent'],
    proofs: structure(
      'a freezer comes with its whole layout, empty, under new names and barcodes',
      'takes everything below along',
    ),
    missing: 'One call that plans the targets, prints the order and runs it.',
  },
  {
    ask: 'Load a box from a CSV of positions, safely',
    answer:
      'A file is checked whole, each mistake named by line and column; what it says is asserted until something scans it.',
    endpoints: ['POST /storage/imports', 'GET /storage/bulk/{id}'],
    proofs: bulk(
      'registers them where they are asserted to be, until something scans them',
      'names every mistake by line and column; all or nothing does nothing, valid does the others',
      'asserts where known samples are, also where they change places',
    ),
  },
  {
    ask: 'Undo a wrong bulk operation; re-scan a spilled box in a new order',
    answer:
      'An undo asks whether to correct the record or to move back; it is refused where something later depends on it. A scan of a spilled box is applied in one go.',
    endpoints: ['POST /storage/moves/{id}/undo', 'POST /storage/rack-scans/{id}/apply'],
    proofs: [
      ...bulk(
        'is corrected: every tube is recorded where it was, asserted until it is scanned; once',
        'is moved back by a job for each tube',
        'is not taken back where something later depends on it, and says on what',
      ),
      ...scans('takes a spilled box in its new order, in one go, and confirms what was only asserted'),
    ],
  },
  {
    ask: 'Rack scanning that survives errors',
    answer:
      'A scan is kept with unread tubes, superseded by the next of its rack; the scanner is told the size of the box each time.',
    endpoints: ['POST /storage/rack-scans', 'POST /storage/rack-scanners/{id}/scan'],
    proofs: [
      ...scans(
        'says what differs, across all boxes, keeps unread tubes, and changes nothing',
        'is superseded by the next of the same rack, which alone can be applied',
        'of a rack of another size, or of another box, wants that confirmed',
      ),
      ...of('api/rack-scanner')('is set to the size of the box, for it cannot sense it'),
    ],
  },
  {
    ask: 'Say after a scan what moved, what was unknown, what is there twice',
    answer: 'The scan answers with what stands where it should, moved, unknown, missing, unread and double.',
    endpoints: ['GET /storage/rack-scans/{id}'],
    proofs: diff(
      'says of each position what is there',
      'names the other box when most of the tubes are of that one',
    ),
  },
  {
    ask: 'Speed',
    answer: 'Figures are measured beside what the machine can do at all: `npm run bench`, docs/evidence.',
    endpoints: ['GET /storage/locations/{id}/map', 'GET /storage/samples/{id}/location'],
    proofs: storage('64 requests for the location of a sample at once all answer'),
    missing: 'The figures at 1,000,000 and 5,000,000 samples in 20 freezers.',
  },
  {
    ask: 'The audit names the real person',
    answer:
      'Every entry has actor, role, station and reason; the database refuses a change without its entry.',
    endpoints: ['GET /storage/samples/{id}/timeline', 'GET /blockchain/integrity'],
    proofs: [
      ...of('activities/storage-invariants')('custody does not change without a ledger entry'),
      ...storage('have a timeline of everything that happened to them'),
    ],
  },
  {
    ask: 'Freeze–thaw count, lot, use count, archive instead of delete',
    answer: 'They are of the sample, with what was used and when; nothing is deleted.',
    endpoints: [
      'POST /storage/samples/{id}/thaw',
      'POST /storage/samples/{id}/consume',
      'POST /storage/samples/{id}/archive',
    ],
    proofs: life(
      'counts a thaw that was seen once',
      'takes exact amounts, never more than there is, and ends at nothing',
      'the database derives the same state as the table of the domain',
    ),
  },
  {
    ask: 'Path and row/column on every list; print or export one location',
    answer:
      'Every sample is shown with its path and position; a location is exported as CSV or XLSX, its labels printed.',
    endpoints: ['GET /storage/samples', 'GET /storage/exports/samples', 'GET /storage/locations/{id}/labels'],
    proofs: [
      ...storage('are listed by page, by place, project and type'),
      ...bulk('of a location can be imported again; what a spreadsheet would run is guarded'),
      ...of('api/labels')('of every tube of a box are printed in its order'),
    ],
  },
  {
    ask: 'The empty tree, not only occupied rows',
    answer: 'The tree and the map of a box show what is free as well.',
    endpoints: ['GET /storage/locations', 'GET /storage/locations/{id}/map'],
    proofs: storage('gives the tree, empty places too', 'count and show what is in a box'),
  },
  {
    ask: 'Bags and bins without positions; numbering 1..81',
    answer:
      'Containers may hold loose things, with or without a limit; a box may print numbers, and takes labels too.',
    endpoints: ['POST /storage/locations', 'PUT /storage/location-types/{code}'],
    proofs: [
      ...structure(
        'hold what fits in them, without positions; a full one refuses and says where there is room',
        'without a limit never fill, also for 64 at once, and count what is in them',
        'a box fills in the direction its type says, and prints numbers',
      ),
      ...of('unit/grid')('linear 1..81 and labels of a box agree both ways'),
    ],
  },
  {
    ask: 'Alerts',
    answer: 'Alarms of jobs, robots and stores are raised, grow louder, and are cleared with a comment.',
    endpoints: ['GET /storage/overview', 'GET /storage/locations/{id}/capacity'],
    proofs: storage('the overview counts positions by zone, samples by custody, alarms and jobs'),
    missing: 'Alerts at thresholds of capacity; alarms of probes.',
  },
  {
    ask: 'Offline, no screen in the cold room',
    answer:
      'The memory of a rack scanner is read when it is connected again; scans are kept with their own time.',
    endpoints: ['POST /storage/rack-scans'],
    proofs: scans('takes all 96 tubes of a rack in any order'),
    missing: 'Moves made on paper entered later; a list of scans made without a connection.',
  },
  {
    ask: 'One timeline per sample; barcode replacement without losing history',
    answer: 'A replaced label stays reserved, still finds its tube, and says so.',
    endpoints: ['GET /storage/samples/{id}/timeline', 'POST /storage/samples/{id}/barcode'],
    proofs: [
      ...storage('have a timeline of everything that happened to them'),
      ...life('replaces the old one, which stays reserved and still finds the tube, and says so'),
    ],
  },
];

/** Ten things that, as far as public code and documents show, no other system has. */
export const FIRSTS: readonly Answer[] = [
  {
    ask: 'Durable robot sagas',
    answer:
      'Persisted steps, one key a physical command, compensation or a person’s answer when nobody knows.',
    endpoints: ['POST /automation/placement', 'POST /automation/jobs/{id}/decision'],
    proofs: [
      ...of('workflows/kill')('a worker killed at every step of a %s costs nothing but time'),
      ...of('faults/gateway-crash')('before SENT: the next one sends the command, once'),
    ],
  },
  {
    ask: 'A custody log that verifies offline',
    answer: 'A hash chain for each laboratory, recomputed on demand, that names the first bad entry.',
    endpoints: ['GET /blockchain/integrity'],
    proofs: of('activities/storage-invariants')('custody does not change without a ledger entry'),
    missing: 'Signed checkpoints, the one-file export and its verifier.',
  },
  {
    ask: 'A what-if twin on live occupancy',
    answer: 'Dry runs of imports, moves and picklists look at the live store and change nothing.',
    endpoints: ['POST /storage/moves', 'POST /automation/picklists'],
    proofs: of('api/picklists')('opens each door once, and says what that saves; a dry run begins nothing'),
    missing: 'The twin: forks of the state and plans that are applied if the base has not changed.',
  },
  {
    ask: 'An evacuation planner',
    answer: 'What a place can hold is asked without placing, rule by rule.',
    endpoints: ['POST /storage/locations/{id}/can-hold'],
    proofs: rules('answers rule by rule and changes nothing'),
    missing: 'The planner.',
  },
  {
    ask: 'Temperature as a hard constraint everywhere',
    answer:
      'Placement, move, import and bulk move are refused where it is too warm; a robot’s move is refused when its predicted exposure is beyond the budget.',
    endpoints: ['POST /storage/samples', 'POST /storage/imports', 'PUT /storage/exposure-budgets/{zone}'],
    proofs: [
      ...of('api/processes')('the wrong temperature'),
      ...bulk('names every mistake by line and column; all or nothing does nothing, valid does the others'),
    ],
    missing: 'Exposure from raw probe data.',
  },
  {
    ask: 'Undo with compensation',
    answer: 'Bulk operations are taken back as new entries, never erased, refused with reasons.',
    endpoints: ['POST /storage/moves/{id}/undo'],
    proofs: bulk(
      'is not taken back where something later depends on it, and says on what',
      'an import that was wrong is taken back into archived records, its positions are free',
    ),
  },
  {
    ask: 'Offline-first scanning',
    answer: 'A scan that comes late is compared with the record of now, and refused where it has changed.',
    endpoints: ['POST /storage/rack-scans/{id}/apply'],
    proofs: scans('is refused when the box, or a tube that was read in it, has changed since'),
    missing: 'Signed client events, their merge and the inbox of conflicts.',
  },
  {
    ask: 'Rack-scan reconciliation across all boxes',
    answer:
      'Tubes that belong elsewhere, spilled boxes, racks of another size and turned racks are told apart.',
    endpoints: ['POST /storage/rack-scans', 'POST /storage/rack-scans/{id}/apply'],
    proofs: [
      ...diff(
        'finds a rack that was turned, wherever its two or more tubes are',
        'does not take a shuffled box for a turned one',
        'takes a spilled box in any new order, at once',
      ),
      ...scans('fetches tubes from other boxes and hands, and frees where they were recorded'),
    ],
  },
  {
    ask: 'Provable placement',
    answer:
      'Every choice says which rules passed, its points and who lost why; losers get the next free position.',
    endpoints: ['POST /storage/samples', 'GET /automation/jobs/{id}'],
    proofs: of('unit/placement')('names the rules passed, the points and two runners-up with why they lost'),
  },
  {
    ask: 'Compliance as queries over evidence',
    answer: 'Deviations are opened by what happened and closed by a person.',
    endpoints: ['GET /automation/deviations'],
    proofs: of('activities/parking')('a scan that ends the job later says that there was a deviation'),
    missing: 'The clauses, their queries and the signed report.',
  },
];

/** Both tables as a page for readers. */
export function userRequestsPage(): string {
  const table = (answers: readonly Answer[]) => [
    '| | Asked for | Here | By | Shown by | Missing |',
    '| --- | --- | --- | --- | --- | --- |',
    ...answers.map(({ ask, answer, endpoints, proofs, missing }, index) => {
      const by = endpoints.map((each) => `\`${each}\``).join('<br>');
      const shown = proofs.map(({ file, title }) => `\`${file}\`: ${title}`).join('<br>');
      return `| ${index + 1} | ${ask} | ${answer} | ${by} | ${shown} | ${missing ?? ''} |`;
    }),
  ];
  return [
    '# What users ask for',
    '',
    'What users of laboratory inventories ask for most often in public, and how it is answered here. Generated from',
    '`test/api/user-requests.ts` by its test, which looks whether each path and each test is there:',
    '`npx vitest run --project real test/api/user-requests.test.ts -u` writes it again.',
    '',
    ...table(REQUESTS),
    '',
    '## What none of the others has',
    '',
    'As far as public code and documents show.',
    '',
    ...table(FIRSTS),
    '',
  ].join('\n');
}

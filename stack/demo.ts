import { existsSync, readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DomainError } from '../domain/errors.ts';
import { parseRackScan } from '../domain/rack-scan.ts';
import { TWO_COLUMNS } from '../domain/scanner-profile.ts';
import { type Audit, audit } from './demo/audit.ts';
import { Cell } from './demo/cell.ts';
import { Client } from './demo/client.ts';
import {
  type Compensated,
  failHalfWay,
  handOut,
  killWorkerInMidMove,
  type Survived,
} from './demo/incidents.ts';
import { JobWatch } from './demo/job-watch.ts';
import { clearLeftovers } from './demo/leftovers.ts';
import { RunningLaboratory } from './demo/running-laboratory.ts';
import { createSilentStage, createStage, type Stage } from './demo/stage.ts';
import { buildStore, emptyRack } from './demo/store.ts';
import { type Stored, storeAll } from './demo/tubes.ts';

const USAGE = `Shows the main job on a real rack scan: npm run demo [-- [FILE] [--json]]

  FILE     a scan of a rack of 96, lines of position,barcode (otherwise examples/rack-96.csv)
  --json   nothing but a summary for machines on standard output
  --help   this text

It uses the laboratory that runs, or starts one and stops it at the end. A second run takes the tubes it finds.`;

const EXAMPLE = fileURLToPath(new URL('../examples/rack-96.csv', import.meta.url));
const RACK_96 = { rows: 8, columns: 12, rowLabels: 'upper', columnLabels: 'number' } as const;
/** Tubes that something happens to: three to fetch, one to drop, one to hold, one to move. */
const LEAST_TUBES = 6;

interface Arguments {
  readonly file: string;
  readonly json: boolean;
  readonly help: boolean;
}

/** @param from folder that the command was given in; npm itself goes to the project's */
function parse(args: readonly string[], from: string): Arguments {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { json: { type: 'boolean' }, help: { type: 'boolean' } },
    allowPositionals: true,
    strict: false,
  });
  const unknown = Object.keys(values).find((name) => name !== 'json' && name !== 'help');
  if (unknown !== undefined) throw new Error(`npm run demo does not know '--${unknown}'.\n\n${USAGE}`);
  if (positionals.length > 1) {
    throw new Error(
      `npm run demo takes one file, not ${positionals.length}: ${positionals.join(' ')}\n\n${USAGE}`,
    );
  }
  return {
    file: resolve(from, positionals[0] ?? EXAMPLE),
    json: values.json === true,
    help: values.help === true,
  };
}

/** Barcodes of the scanned tubes, in the order of the file. */
function readScan(file: string): string[] {
  if (!existsSync(file)) throw new Error(`there is no file ${file}`);
  const { positions } = parseRackScan(readFileSync(file, 'utf8'), TWO_COLUMNS, RACK_96, basename(file));
  const barcodes = positions.flatMap(({ content }) => (content.kind === 'tube' ? [content.barcode] : []));
  if (barcodes.length < LEAST_TUBES) {
    throw new Error(`${basename(file)} has ${barcodes.length} tubes; the demo needs ${LEAST_TUBES} or more`);
  }
  return barcodes;
}

/** `npm run demo`; the exit status is 1 when anything is not as it should be. */
export async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const isTerminal = process.stdout.isTTY === true;
  try {
    const { file, json, help } = parse(args, env.INIT_CWD ?? process.cwd());
    if (help) {
      console.log(USAGE);
      return;
    }
    const barcodes = readScan(file);
    const stage = json
      ? createSilentStage()
      : createStage((text) => process.stdout.write(text), isTerminal, isTerminal && !env.NO_COLOR);
    const summary = await onLaboratory(env, stage, (laboratory) => play(laboratory, stage, file, barcodes));
    if (json) console.log(JSON.stringify(summary, null, 2));
    process.exitCode = summary.ok ? 0 : 1;
  } catch (error) {
    console.error(`\n✗ ${error instanceof Error ? error.message : String(error)}`);
    if (error instanceof DomainError && error.errors && error.errors.length > 1) {
      for (const { pointer, detail } of error.errors) console.error(`  ${pointer}: ${detail}`);
    }
    process.exitCode = 1;
  }
}

/** Finds or starts the laboratory, and stops what was started, whatever happens. */
async function onLaboratory<T>(
  env: NodeJS.ProcessEnv,
  stage: Stage,
  body: (laboratory: RunningLaboratory) => Promise<T>,
): Promise<T> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      console.error('\n✗ interrupted: the next demo takes the tubes where they are');
      process.exit(1); // and with it goes what was started: see RunningLaboratory
    });
  }
  const laboratory = await RunningLaboratory.find(env, (line) => stage.say(line));
  try {
    return await body(laboratory);
  } finally {
    if (laboratory.wasStarted) stage.say('stopping the laboratory');
    await laboratory.stop();
  }
}

interface Summary {
  readonly ok: boolean;
  readonly seconds: number;
  readonly scan: { readonly file: string; readonly tubes: number };
  readonly stored: Omit<Stored, 'failed'> & { readonly failed: number };
  readonly retrieved: readonly string[];
  readonly compensations: readonly { readonly jobId: string; readonly isBack: boolean }[];
  readonly workerKilled: {
    readonly jobId: string;
    readonly state: string;
    readonly picks: number;
    readonly restartMs: number;
  };
  readonly tubes: Audit['tubes'];
  readonly astray: readonly string[];
  readonly ledger: Audit['integrity'];
  readonly links: Readonly<Record<string, string>>;
}

async function play(
  laboratory: RunningLaboratory,
  stage: Stage,
  file: string,
  barcodes: readonly string[],
): Promise<Summary> {
  const began = Date.now();
  const client = new Client(laboratory.apiAddress, laboratory.credentials);
  const cell = new Cell(laboratory.cellAddress);
  const watch = new JobWatch(client);

  stage.chapter(`The laboratory, at ${laboratory.apiAddress}`);
  stage.say(`signing in as ${laboratory.credentials.email}, at the station beside the robot`);
  const store = await buildStore(client, laboratory.controller);
  stage.good(store.made.length > 0 ? `made ${store.made.join(', ')}` : 'everything stands already');
  const left = await clearLeftovers({ client, cell, watch, stage, store });
  if (left > 0) stage.say(`${left} jobs of an earlier demo were settled`);
  const rack = await emptyRack(client);
  const scene = { client, cell, watch, stage, store, rack };

  stage.chapter(`${barcodes.length} tubes of ${basename(file)} into ${rack.name}, by robot`);
  const stored = await storeAll(scene, barcodes);
  tellStored(stage, stored);

  const [first = '', second = '', third = '', missed = '', held = '', moved = ''] = barcodes;
  stage.chapter('The robot fails half-way: what was done is undone');
  const compensations = [await failHalfWay(scene, missed, 'pick'), await failHalfWay(scene, held, 'place')];

  stage.chapter('The workflow worker is killed in mid-move');
  const survived = await killWorkerInMidMove(scene, laboratory, moved);

  stage.chapter('Three tubes to the hand-off');
  const retrievals = await handOut(scene, [first, second, third]);

  stage.chapter('Where everything is');
  const found = await audit(scene, barcodes);
  tellAudit(stage, found);
  const links = linksOf(laboratory, compensations, survived, retrievals[0]?.links.temporal);
  for (const [name, address] of Object.entries(links)) stage.link(name, address);

  const seconds = (Date.now() - began) / 1000;
  const ok =
    stored.failed.length === 0 &&
    compensations.every(({ isBack }) => isBack) &&
    survived.job.state === 'COMPLETED' &&
    survived.picks === 1 &&
    retrievals.every(({ state }) => state === 'COMPLETED') &&
    found.tubes.every(({ agrees }) => agrees) &&
    found.astray.length === 0 &&
    found.integrity.ok;
  if (ok) stage.good(`all as it should be, after ${seconds.toFixed(0)} s`);
  else stage.bad('not everything is as it should be: see above');
  return {
    ok,
    seconds,
    scan: { file, tubes: barcodes.length },
    stored: { ...stored, failed: stored.failed.length },
    retrieved: [first, second, third],
    compensations: compensations.map(({ job, isBack }) => ({ jobId: job.id, isBack })),
    workerKilled: {
      jobId: survived.job.id,
      state: survived.job.state,
      picks: survived.picks,
      restartMs: survived.restartMs,
    },
    tubes: found.tubes,
    astray: found.astray,
    ledger: found.integrity,
    links,
  };
}

function tellStored(stage: Stage, { registered, placedAgain, moved, failed, seconds }: Stored): void {
  const parts = [
    registered > 0 && `${registered} registered and placed`,
    placedAgain > 0 && `${placedAgain} placed again`,
    moved > 0 && `${moved} moved from another rack`,
  ].filter((part) => part !== false);
  stage.good(`${parts.join(', ')}, in ${seconds.toFixed(0)} s`);
  for (const job of failed)
    stage.bad(`job ${job.id} ended as ${job.state}: ${JSON.stringify(job.result ?? {})}`);
}

function tellAudit(stage: Stage, { tubes, astray, integrity }: Audit): void {
  const counts = new Map<string, number>();
  for (const { custody } of tubes)
    counts.set(custody ?? 'unregistered', (counts.get(custody ?? 'unregistered') ?? 0) + 1);
  const said = [...counts].map(
    ([custody, count]) =>
      `${count} ${custody === 'position' ? 'in position' : custody === 'person' ? 'with a person' : custody}`,
  );
  stage.say(`${tubes.length} tubes: ${said.join(', ')}`);
  const wrong = tubes.filter(({ agrees }) => !agrees);
  if (wrong.length === 0) stage.good('custody, ledger and the robot’s own world agree on every tube');
  for (const tube of wrong) {
    stage.bad(
      `${tube.barcode}: custody ${tube.custody} ${tube.place ?? ''}, ledger ${tube.ledger}, seen at ${tube.physical ?? 'no place in the cell'}`,
    );
  }
  for (const barcode of astray) stage.bad(`${barcode} is seen in two places, in the carrier or on the floor`);
  if (integrity.ok) {
    stage.good(`ledger: ${integrity.entries} entries recomputed, root ${integrity.root.slice(0, 16)}…`);
  } else stage.bad(`ledger: ${integrity.faults} faults, first: ${integrity.firstFault?.detail}`);
}

function linksOf(
  laboratory: RunningLaboratory,
  [missed, held]: readonly Compensated[],
  survived: Survived,
  retrieval: string | undefined,
): Record<string, string> {
  const links = {
    'pick that failed': missed?.job.links.temporal,
    'tube put back': held?.job.links.temporal,
    'worker killed': survived.job.links.temporal,
    'tube handed over': retrieval,
    'API documentation': `${laboratory.apiAddress}/docs`,
  };
  return Object.fromEntries(
    Object.entries(links).flatMap(([name, address]) => (address ? [[name, address]] : [])),
  );
}

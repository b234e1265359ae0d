import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import proto from '@temporalio/proto';

const { History } = proto.temporal.api.history.v1;

const FOLDER = new URL('../histories/', import.meta.url);

/** Names of the committed histories. */
export function historyNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.replace(/\.json$/, ''))
    .toSorted();
}

/**
 * Writes a history down, with enums by name and bytes in base64. (The SDK's own `historyToJSON` fails when npm installs
 * protobufjs more than once.)
 */
export function writeHistory(name: string, history: proto.temporal.api.history.v1.IHistory): void {
  const plain = History.toObject(History.fromObject(history), {
    enums: String,
    longs: String,
    bytes: String,
  });
  writeFileSync(new URL(`${name}.json`, FOLDER), `${JSON.stringify(plain, withoutMachine, 1)}\n`);
}

/** Reads a history as `writeHistory` wrote it. */
export function readHistory(name: string): proto.temporal.api.history.v1.History {
  const plain: unknown = JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8'));
  if (typeof plain !== 'object' || plain === null) throw new Error(`${name}.json is no history`);
  return History.fromObject(plain);
}

/** Leaves out what names the machine it was recorded on; a replay does not read it. */
function withoutMachine(key: string, value: unknown): unknown {
  if (key === 'identity') return 'worker';
  return key === 'stackTrace' ? '' : value;
}

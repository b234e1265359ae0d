import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openWorklistStore } from '../../devices/worklist-store.ts';
import { type CellWorld, type LoggedMotion, type Spawned, start } from './robot-cell.ts';

/** What the store believes. */
interface Books {
  readonly inventory: Readonly<Record<string, string>>;
  readonly revision: number;
  readonly report: { readonly number: number; readonly state: string; readonly reason: string } | null;
}

/** A tube at an address, as a test writes it. */
export interface CellTube {
  readonly cassette: number;
  readonly level: number;
  readonly slot: number;
  readonly barcode: string;
  readonly readable?: boolean;
}

type Address = Pick<CellTube, 'cassette' | 'level' | 'slot'>;

const SIMULATOR = 'devices/simulators/worklist-store.ts';

/** The wire to a simulated store whose hand-off is cassette 9, level 1. */
export function openWorklist(port: number, timeoutMs = 1_000) {
  return openWorklistStore({ host: '127.0.0.1', port, timeoutMs, handoff: { cassette: 9, level: 1 } });
}

/** A simulated vendor's store in a process of its own. */
export class WorklistCell {
  readonly port: number;
  readonly #folder: string;
  readonly #control: string;
  readonly #args: readonly string[];
  #process: Spawned;

  private constructor(folder: string, args: readonly string[], process: Spawned) {
    const [, port, control] = /worklist=\S+:(\d+) control=\S+:(\d+)/.exec(process.ready) ?? [];
    this.port = Number(port);
    this.#control = `http://127.0.0.1:${control}`;
    this.#folder = folder;
    this.#args = [...args, '--port', String(port), '--control-port', String(control)];
    this.#process = process;
  }

  /** @param args of the simulator, e.g. `['--speed', '0']` */
  static async open(args: readonly string[]): Promise<WorklistCell> {
    const folder = mkdtempSync(join(tmpdir(), 'tracseq-worklist-'));
    const all = ['--data', folder, ...args];
    return new WorklistCell(folder, all, await start(SIMULATOR, all));
  }

  /** kill -9 and start again on the same world and ports. */
  async restart(): Promise<void> {
    await this.#process.kill();
    this.#process = await start(SIMULATOR, this.#args);
  }

  async close(): Promise<void> {
    await this.#process.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  world(): Promise<CellWorld> {
    return this.#call('GET', '/world');
  }

  books(): Promise<Books> {
    return this.#call('GET', '/books');
  }

  log(): Promise<LoggedMotion[]> {
    return this.#call('GET', '/log');
  }

  /** At the store's own screen: into the world and its books. */
  add(cassette: number, level: number, slot: number, barcode: string): Promise<unknown> {
    return this.addAll([{ cassette, level, slot, barcode }]);
  }

  addAll(tubes: readonly CellTube[]): Promise<unknown> {
    return this.#call('POST', '/screen/add', { tubes });
  }

  screenMove(from: Address, to: Address): Promise<unknown> {
    return this.#call('POST', '/screen/move', { from, to });
  }

  screenRemove(place: Address): Promise<unknown> {
    return this.#call('POST', '/screen/remove', place);
  }

  /** By hand, so that the store's books do not hear of it: into its hand-off, or in among its tubes. */
  putTube(cassette: number, level: number, slot: number, barcode: string): Promise<unknown> {
    return this.#call('POST', '/tubes', { tubes: [{ cassette, level, slot, barcode }] });
  }

  /** By hand, as above. */
  takeTube({ cassette, level, slot }: Address): Promise<unknown> {
    return this.#call('DELETE', `/tubes/${cassette}/${level}/${slot}`);
  }

  fault(fault: Record<string, unknown>): Promise<unknown> {
    return this.#call('POST', '/faults', fault);
  }

  clearFaults(): Promise<unknown> {
    return this.#call('DELETE', '/faults');
  }

  setMode(mode: string): Promise<unknown> {
    return this.#call('POST', '/mode', { mode });
  }

  setDoor(on: boolean): Promise<unknown> {
    return this.#call('POST', '/door', { on });
  }

  cut(forMs: number): Promise<unknown> {
    return this.#call('POST', '/cut', { forMs });
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.#control + path, {
      method,
      headers: { connection: 'close' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const answer: unknown = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    // The simulator is a program of this project; its tests hold it to these shapes.
    return answer as T;
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Fault } from '../../devices/simulators/store-faults.ts';

const TubeSeen = z.object({ barcode: z.string() });
const MotionSeen = z.object({
  number: z.number(),
  operation: z.enum(['pick', 'place', 'scan', 'unknown']),
  moved: z.object({ barcode: z.string(), from: z.string(), to: z.string() }).nullable(),
});
const WorldSeen = z.object({
  positions: z.record(z.string(), TubeSeen),
  carrier: TubeSeen.nullable(),
  floor: z.array(TubeSeen),
  motion: MotionSeen.nullable(),
  mode: z.enum(['manual', 'auto', 'estop']),
  doorOpen: z.boolean(),
  alarm: z.boolean(),
  lockedOut: z.boolean(),
});
const LoggedMotions = z.array(
  MotionSeen.extend({
    startedAt: z.iso.datetime(),
    endedAt: z.iso.datetime(),
    result: z.enum(['done', 'error', 'interrupted']),
    errorCode: z.number(),
  }),
);

export type WorldSeen = z.infer<typeof WorldSeen>;
export type LoggedMotions = z.infer<typeof LoggedMotions>;

/** A place in the cell, as the robot counts. */
export interface CellAddress {
  readonly cassette: number;
  readonly level: number;
  readonly slot: number;
}

export const placeOf = ({ cassette, level, slot }: CellAddress): string => `${cassette}/${level}/${slot}`;

/**
 * The simulated cell as somebody who stands before it: hands that put tubes into the hand-off and take them out, eyes
 * that see where each tube is, and a switch for faults. The application has none of this.
 */
export class Cell {
  readonly #address: string;
  readonly #fetch: typeof fetch;

  constructor(address: string, by: typeof fetch = fetch) {
    this.#address = address;
    this.#fetch = by;
  }

  look(): Promise<WorldSeen> {
    return this.#call('GET', '/world', undefined, WorldSeen);
  }

  motions(): Promise<LoggedMotions> {
    return this.#call('GET', '/log', undefined, LoggedMotions);
  }

  async putTube(at: CellAddress, barcode: string): Promise<void> {
    await this.#call('POST', '/tubes', { tubes: [{ ...at, barcode }] }, z.unknown());
  }

  async takeTube(at: CellAddress): Promise<void> {
    await this.#call('DELETE', `/tubes/${placeOf(at)}`, undefined, z.unknown());
  }

  /** Takes the tube out of the gripper, if it holds one. */
  async emptyCarrier(): Promise<void> {
    await this.#call('DELETE', '/carrier', undefined, z.unknown());
  }

  /** Picks up everything that fell. */
  async sweepFloor(): Promise<void> {
    await this.#call('DELETE', '/floor', undefined, z.unknown());
  }

  /** The mode switch; back in auto is the reset after a stop. */
  async setMode(mode: WorldSeen['mode']): Promise<void> {
    await this.#call('POST', '/mode', { mode }, z.unknown());
  }

  /** The service door, the store's own alarm, the padlock of whoever reaches in. */
  async turn(what: 'door' | 'alarm' | 'lock-out', on: boolean): Promise<void> {
    await this.#call('POST', `/${what}`, { on }, z.unknown());
  }

  /** Ends the wire's connections, and new ones for some ms. */
  async cut(forMs: number): Promise<void> {
    await this.#call('POST', '/cut', { forMs }, z.unknown());
  }

  async arm(fault: Fault): Promise<void> {
    await this.#call('POST', '/faults', fault, z.unknown());
  }

  async disarm(): Promise<void> {
    await this.#call('DELETE', '/faults', undefined, z.unknown());
  }

  /** Watches until the cell is as wished. */
  async until(what: string, ms: number, isSo: (world: WorldSeen) => boolean): Promise<WorldSeen> {
    const end = Date.now() + ms;
    for (;;) {
      const world = await this.look();
      if (isSo(world)) return world;
      if (Date.now() > end) throw new Error(`${what} did not happen within ${ms / 1000} s`);
      await sleep(15);
    }
  }

  async #call<S extends z.ZodType>(
    method: string,
    path: string,
    body: unknown,
    schema: S,
  ): Promise<z.infer<S>> {
    const response = await this.#fetch(`${this.#address}${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    });
    const reply: unknown = await response.json();
    if (!response.ok)
      throw new Error(`the simulated cell refused ${method} ${path}: ${JSON.stringify(reply)}`);
    return schema.parse(reply);
  }
}

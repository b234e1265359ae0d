import { setTimeout as sleep } from 'node:timers/promises';
import { Cell, type CellAddress, placeOf, type WorldSeen } from '../../../stack/demo/cell.ts';

const PATIENCE_MS = 300_000;
const AGAIN_MS = 50;
const CALL_MS = 10_000;

/** What hands do: said twice it would be done twice, to another tube perhaps. */
const isByHand = (input: string | URL | Request): boolean =>
  new URL(input instanceof Request ? input.url : input).pathname.startsWith('/tubes');

/** A cell whose program is killed now and then: who stands before it waits until it is back. */
export class PatientCell extends Cell {
  constructor(address: string) {
    super(address, async (input, request) => {
      for (const end = Date.now() + PATIENCE_MS; ; ) {
        try {
          // The time of one call would be over for all that follow.
          return await fetch(input, { ...request, signal: AbortSignal.timeout(CALL_MS) });
        } catch (error) {
          if (isByHand(input) || Date.now() > end) throw error;
          await sleep(AGAIN_MS);
        }
      }
    });
  }

  override putTube(at: CellAddress, barcode: string): Promise<void> {
    return this.#once(
      () => super.putTube(at, barcode),
      (world) => isSeen(world, barcode),
    );
  }

  override async takeTube(at: CellAddress): Promise<void> {
    const tube = (await this.look()).positions[placeOf(at)]?.barcode;
    await this.#once(
      () => super.takeTube(at),
      (world) => tube !== undefined && world.positions[placeOf(at)]?.barcode !== tube,
    );
  }

  /** The program may die after it was done and before it said so: whoever acts looks before it is done again. */
  async #once(act: () => Promise<void>, isDone: (world: WorldSeen) => boolean): Promise<void> {
    for (const end = Date.now() + PATIENCE_MS; ; ) {
      try {
        return await act();
      } catch (error) {
        if (isDone(await this.look())) return;
        if (Date.now() > end) throw error;
        await sleep(AGAIN_MS);
      }
    }
  }
}

/** Whether a barcode is anywhere in the cell: a tube is there once. */
export function isSeen({ positions, carrier, floor }: WorldSeen, barcode: string): boolean {
  return [...Object.values(positions), ...floor, ...(carrier ? [carrier] : [])].some(
    (tube) => tube.barcode === barcode,
  );
}

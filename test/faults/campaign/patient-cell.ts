import { setTimeout as sleep } from 'node:timers/promises';
import { Cell, type CellAddress, placeOf } from '../../../stack/demo/cell.ts';

const PATIENCE_MS = 300_000;
const AGAIN_MS = 50;
const CALL_MS = 10_000;

/** A cell whose program is killed now and then: who stands before it waits until it is back. */
export class PatientCell extends Cell {
  constructor(address: string) {
    super(address, async (input, request) => {
      for (const end = Date.now() + PATIENCE_MS; ; ) {
        try {
          // The time of one call would be over for all that follow.
          return await fetch(input, { ...request, signal: AbortSignal.timeout(CALL_MS) });
        } catch (error) {
          if (Date.now() > end) throw error;
          await sleep(AGAIN_MS);
        }
      }
    });
  }

  /** Its program may have died after it was done and before it said so: then it is refused the second time. */
  override async putTube(at: CellAddress, barcode: string): Promise<void> {
    await super.putTube(at, barcode).catch(async (refused: unknown) => {
      if ((await this.look()).positions[placeOf(at)]?.barcode !== barcode) throw refused;
    });
  }

  override async takeTube(at: CellAddress): Promise<void> {
    await super.takeTube(at).catch(async (refused: unknown) => {
      if ((await this.look()).positions[placeOf(at)] !== undefined) throw refused;
    });
  }
}

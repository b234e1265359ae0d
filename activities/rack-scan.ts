import { Context } from '@temporalio/activity';
import type { Database } from '../db/connection.ts';
import { failScan, finishScan, scannerOfScan } from '../db/rack-scanners.ts';
import { readVisionMate } from '../devices/visionmate.ts';
import { DomainError } from '../domain/errors.ts';
import { parseRackScan } from '../domain/rack-scan.ts';
import type { RackScanActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';

/** How long a scanner may take for an answer, and a person to put the rack on it, in ms. */
export interface ScannerPatience {
  readonly answerMs: number;
  readonly waitMs: number;
}

const PATIENCE: ScannerPatience = { answerMs: 5_000, waitMs: 120_000 };

/** Racks read by scanners on the network. Each may be repeated: reading moves nothing. */
export function createRackScanActivities({
  db,
  patience = PATIENCE,
}: {
  readonly db: Database;
  readonly patience?: ScannerPatience;
}): RackScanActivities {
  return {
    readRack: ({ actor, scanId }) =>
      failingAsWorkflowsExpect(async () => {
        const asked = await scannerOfScan(db, actor.tenantId, scanId);
        if (asked.state !== 'reading') return;
        const { scanner, profile, grid } = asked;
        const size = { rows: grid.rows, columns: grid.columns };
        const text = await readVisionMate(
          { host: scanner.host, port: scanner.port, timeoutMs: patience.answerMs },
          {
            size,
            waitMs: patience.waitMs,
            onLook: () => {
              Context.current().heartbeat();
              Context.current().cancellationSignal.throwIfAborted();
            },
          },
        );
        try {
          const scan = parseRackScan(text, { ...profile, rack: size }, grid, 'the scanner’s answer');
          await finishScan(db, actor, scanId, scan);
        } catch (error) {
          if (!(error instanceof DomainError)) throw error;
          // Said here and not by the workflow: it quotes what was read, and histories hold no barcodes.
          await failScan(db, actor, scanId, error.detail);
        }
      }),

    failRackScan: ({ actor, scanId }, why) =>
      failingAsWorkflowsExpect(async () => {
        await failScan(db, actor, scanId, why);
      }),
  };
}

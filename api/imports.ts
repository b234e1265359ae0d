import type { Context } from 'hono';
import type { ReadRow } from '../db/bulk-staging.ts';
import { type ColumnMapping, type Heading, type ImportKind, readHeading, readRow } from '../domain/bulk.ts';
import { DomainError } from '../domain/errors.ts';
import type { ApiEnv } from './dependencies.ts';
import { type Encoding, readCsv } from './sheets/csv.ts';
import { columnName, type SheetRow } from './sheets/sheet.ts';
import { readXlsx } from './sheets/xlsx.ts';

export const XLSX_TYPE = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet';

/** Bytes of a workbook: it is read whole, a CSV file as it comes. */
const MOST_XLSX_BYTES = 50 * 1024 * 1024;

/** The file a request brings, as rows. @throws DomainError UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, VALIDATION */
export async function sheetOf(
  c: Context<ApiEnv>,
  options: { readonly encoding: Encoding | null; readonly sheet: string | null },
): Promise<AsyncGenerator<SheetRow>> {
  const type = (c.req.header('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type === 'text/csv') return readCsv(await bytesOf(c), options.encoding);
  if (type === XLSX_TYPE) {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of await bytesOf(c)) {
      size += part.length;
      if (size > MOST_XLSX_BYTES) {
        throw new DomainError('BODY_TOO_LARGE', 'A workbook may have at most 50 MB: save the sheet as CSV.');
      }
      parts.push(part);
    }
    return each(readXlsx(new Uint8Array(Buffer.concat(parts)), options.sheet));
  }
  throw new DomainError(
    'UNSUPPORTED_MEDIA_TYPE',
    `A file is taken as text/csv or as ${XLSX_TYPE}, not as ${type || 'nothing that is said'}.`,
  );
}

/** As they come; where the Idempotency-Key had them read before, from there. */
async function bytesOf(c: Context<ApiEnv>): Promise<AsyncIterable<Uint8Array>> {
  if (c.var.idempotency) return each([new Uint8Array(await c.req.arrayBuffer())]);
  return c.req.raw.body ?? each<Uint8Array>([]);
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

/** The first row of a sheet, and the others as an import takes them. @throws DomainError VALIDATION */
export async function rowsOfImport(
  kind: ImportKind,
  mapping: ColumnMapping,
  sheet: AsyncGenerator<SheetRow>,
): Promise<{ readonly heading: Heading; readonly rows: AsyncGenerator<ReadRow> }> {
  const first = await sheet.next();
  if (first.done) throw new DomainError('VALIDATION', 'The file is empty: its first line has the headings.');
  const heading = readHeading(kind, first.value.cells, mapping, columnName);
  async function* rows(): AsyncGenerator<ReadRow> {
    for await (const { line, cells } of sheet) {
      if (cells.every((cell) => cell.trim() === '')) continue;
      yield { line, ...readRow(kind, heading, line, cells) };
    }
  }
  return { heading, rows: rows() };
}

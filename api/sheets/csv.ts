import { Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { DomainError } from '../../domain/errors.ts';
import type { SheetRow } from './sheet.ts';

/** Encodings a caller may name; without a name it is UTF-8, or UTF-16 with a byte order mark. */
export type Encoding = 'utf-8' | 'latin1';

/** Longest row, in characters: one quotation mark too many shall not read a whole file into one cell. */
const MOST_CHARACTERS = 100_000;
const DELIMITERS = [',', ';', '\t'] as const;

/**
 * Reads a CSV file as it comes, a row at a time. Commas, semicolons or tabs, whichever the first line has most of; UTF-8
 * or UTF-16 with or without a byte order mark.
 * @param encoding what the caller says it is; null = as the bytes say
 * @throws DomainError VALIDATION that says where the file cannot be read, and what would help
 */
export async function* readCsv(
  bytes: AsyncIterable<Uint8Array>,
  encoding: Encoding | null = null,
): AsyncGenerator<SheetRow> {
  const text = decode(bytes, encoding);
  const { first, rest } = await firstLine(text);
  const parser = parse({
    delimiter: delimiterOf(first),
    relax_column_count: true,
    skip_empty_lines: true,
    info: true,
    max_record_size: MOST_CHARACTERS,
  });
  const source = Readable.from(rest);
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  try {
    for await (const { record, info } of parser as AsyncIterable<{
      record: string[];
      info: { lines: number };
    }>) {
      yield { line: info.lines, cells: record };
    }
  } catch (error) {
    throw error instanceof CsvError ? unreadable(error) : error;
  } finally {
    source.destroy();
  }
}

function unreadable(error: CsvError): DomainError {
  const line = typeof error.lines === 'number' ? error.lines : '?';
  const what =
    error.code === 'CSV_MAX_RECORD_SIZE'
      ? `a row is longer than ${MOST_CHARACTERS} characters, as after a quotation mark that is never closed`
      : 'a quotation mark is where none belongs, or one is not closed';
  return new DomainError('VALIDATION', `Line ${line} of the file cannot be read: ${what}.`);
}

/** Semicolons come from spreadsheets of countries that write 1,5. */
function delimiterOf(header: string): string {
  const outside = header.replaceAll(/"[^"]*"/g, '');
  const count = (delimiter: string) => outside.split(delimiter).length;
  return DELIMITERS.reduce((best, each) => (count(each) > count(best) ? each : best));
}

type Decoder = InstanceType<typeof TextDecoder>;

async function* decode(bytes: AsyncIterable<Uint8Array>, encoding: Encoding | null): AsyncGenerator<string> {
  let decoder: Decoder | null = null;
  let lines = 1;
  for await (const chunk of bytes) {
    if (chunk.length === 0) continue;
    decoder ??= decoderFor(chunk, encoding);
    let text: string;
    try {
      text = decoder.decode(chunk, { stream: true });
    } catch {
      throw notUtf8(lines, chunk);
    }
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines += 1;
    yield text;
  }
  try {
    yield decoder?.decode() ?? '';
  } catch {
    throw notUtf8(lines, new Uint8Array());
  }
}

function decoderFor(first: Uint8Array, encoding: Encoding | null): Decoder {
  if (encoding === 'latin1') return new TextDecoder('windows-1252');
  if (first[0] === 0xff && first[1] === 0xfe) return new TextDecoder('utf-16le', { fatal: true });
  if (first[0] === 0xfe && first[1] === 0xff) return new TextDecoder('utf-16be', { fatal: true });
  if (first.subarray(0, 512).includes(0)) {
    throw new DomainError(
      'VALIDATION',
      'The file is no text in UTF-8: it looks like UTF-16 without a byte order mark, or like something else than CSV. Save it as "CSV UTF-8".',
    );
  }
  return new TextDecoder('utf-8', { fatal: true });
}

function notUtf8(lines: number, chunk: Uint8Array): DomainError {
  // The decoder does not say where: the line is that of the first part that is none.
  let line = lines;
  for (const part of splitLines(chunk)) {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(part);
      line += 1;
    } catch {
      break;
    }
  }
  return new DomainError(
    'VALIDATION',
    `Line ${line} of the file is not UTF-8, as when it was saved as Latin-1 (Windows-1252): save it as "CSV UTF-8", or say encoding=latin1.`,
  );
}

function* splitLines(chunk: Uint8Array): Generator<Uint8Array> {
  let start = 0;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, start)) {
    yield chunk.subarray(start, at);
    start = at + 1;
  }
  yield chunk.subarray(start);
}

/** The first line, and the whole text again. */
async function firstLine(
  text: AsyncGenerator<string>,
): Promise<{ readonly first: string; readonly rest: AsyncGenerator<string> }> {
  let head = '';
  while (!head.includes('\n') && head.length < MOST_CHARACTERS) {
    const next = await text.next();
    if (next.done) break;
    head += next.value;
  }
  async function* all(): AsyncGenerator<string> {
    yield head;
    yield* text;
  }
  return { first: head.split('\n', 1)[0] ?? '', rest: all() };
}

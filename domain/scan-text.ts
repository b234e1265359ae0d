import { DomainError } from './errors.ts';
import type { ScannerProfile } from './scanner-profile.ts';

const MARKS = [
  { bytes: [0xef, 0xbb, 0xbf], encoding: 'utf-8' },
  { bytes: [0xff, 0xfe], encoding: 'utf-16le' },
  { bytes: [0xfe, 0xff], encoding: 'utf-16be' },
] as const;

/**
 * The text of a file as a scanner or spreadsheet wrote it; a byte order mark in front is kept, and wins over the profile.
 * @throws DomainError VALIDATION naming line and column of the first byte that is not of the encoding
 */
export function scanText(bytes: Uint8Array, encoding: ScannerProfile['encoding'], source: string): string {
  const marked = MARKS.find((mark) => mark.bytes.every((byte, index) => bytes[index] === byte));
  const taken = marked?.encoding ?? encoding;
  // What browsers call latin1 is Windows-1252: every byte means something.
  const decoder = new TextDecoder(taken === 'latin1' ? 'windows-1252' : taken, {
    fatal: true,
    ignoreBOM: true,
  });
  try {
    return decoder.decode(bytes);
  } catch {
    const { line, column } = firstWrong(bytes, taken);
    const pointer = `line ${line}, column ${column}`;
    const detail =
      taken === 'utf-8'
        ? 'there is a byte that is not UTF-8: it looks like Latin-1; choose a profile whose encoding is latin1, or save the file as UTF-8'
        : 'there are bytes that are not UTF-16: choose a profile of another encoding, or save the file as UTF-8';
    throw new DomainError('VALIDATION', `${source}, ${pointer}: ${detail}`, {
      errors: [{ pointer, detail }],
    });
  }
}

/** Where decoding stops: the longest beginning that can be decoded ends there. */
function firstWrong(bytes: Uint8Array, encoding: string): { line: number; column: number } {
  const decoder = new TextDecoder(encoding, { fatal: true, ignoreBOM: true });
  let text = '';
  try {
    for (let at = 0; at < bytes.length; at++)
      text += decoder.decode(bytes.subarray(at, at + 1), { stream: true });
  } catch {
    // This is the place that was looked for.
  }
  const lines = text.split(/\r\n|\n|\r/);
  return { line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 };
}

/** The first character that no scanner writes, and what it comes from. */
export function strangeCharacter(text: string): { line: number; column: number; detail: string } | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a null is what UTF-16 looks like when it is read as UTF-8
  const at = text.search(/[\u0000\uFFFD]/);
  if (at < 0) return null;
  const before = text.slice(0, at).split(/\r\n|\n|\r/);
  return {
    line: before.length,
    column: (before.at(-1)?.length ?? 0) + 1,
    detail:
      text[at] === '\u0000'
        ? 'there is a null character: the file is UTF-16; send its bytes as fileBase64 with a profile that says so, or save it as UTF-8'
        : 'there is a character that was not UTF-8: send the file’s bytes as fileBase64 with a profile that says Latin-1, or save it as UTF-8',
  };
}

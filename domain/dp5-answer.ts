/** A position in the answer of a DP5 reader. */
interface Dp5Well {
  readonly row: unknown;
  readonly column: unknown;
  readonly barcode?: unknown;
  readonly decodeStatus?: unknown;
}

/** The positions of a DP5 reader’s JSON answer, or what is wrong with it. */
export function dp5Wells(
  content: string,
): { wells: readonly Dp5Well[] } | { line: number; column: number; problem: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content);
  } catch {
    return { line: 1, column: 1, problem: 'this is no JSON: the profile reads the answer of a DP5 reader' };
  }
  const wells: unknown =
    typeof parsed === 'object' && parsed ? Reflect.get(parsed, 'tubeBarcode') : undefined;
  if (!Array.isArray(wells) || !wells.every(isWell)) {
    return {
      line: 1,
      column: 1,
      problem: 'the JSON should have a list tubeBarcode, each with row and column',
    };
  }
  return { wells };
}

function isWell(value: unknown): value is Dp5Well {
  return typeof value === 'object' && value !== null && 'row' in value && 'column' in value;
}

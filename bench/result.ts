export type Target = { readonly atLeast: number } | { readonly atMost: number };

/** What a benchmark says. */
export interface Result {
  readonly name: string;
  /** what was measured */
  readonly figure: number;
  /** the machine's own limit, measured in the same run; or a fixed bound */
  readonly limit: number;
  readonly ratio: number;
  /** the ratio that is asked for */
  readonly target: Target;
  readonly unit: string;
  readonly detail: Readonly<Record<string, number | string>>;
}

/** Is the target met? */
export function meets(result: Result): boolean {
  return 'atLeast' in result.target
    ? result.ratio >= result.target.atLeast
    : result.ratio <= result.target.atMost;
}

/** A benchmark that needs a laboratory of its own. */
export type Bench = () => Promise<Result[]>;

/** Rounds for people: three significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(3));
}

/** Runs `work(i)` for i = 0 … count − 1, at most `width` at a time; the seconds it took. */
export async function inParallel(
  count: number,
  width: number,
  work: (i: number) => Promise<void>,
): Promise<number> {
  const began = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(width, count) }, async () => {
      while (next < count) await work(next++);
    }),
  );
  return (performance.now() - began) / 1000;
}

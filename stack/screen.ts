const SECOND = 1000;

/** What the laboratory tells the person who started it: a line for each part. */
export interface Screen {
  /** a step's outcome */
  step(name: string, detail: string, sinceMs?: number): void;
  /** something a person should know */
  note(line: string): void;
  heading(line: string): void;
  fields(rows: readonly (readonly [string, string])[]): void;
  error(message: string): void;
}

/** @param colours false for files, pipes and NO_COLOR */
export function createScreen(write: (text: string) => void, colours: boolean): Screen {
  const paint = (code: number, text: string) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
  const bold = (text: string) => paint(1, text);
  const dim = (text: string) => paint(2, text);
  return {
    step(name, detail, sinceMs) {
      const took = sinceMs === undefined ? '' : dim(` ${((Date.now() - sinceMs) / SECOND).toFixed(1)} s`);
      write(`  ${paint(32, '✓')} ${name.padEnd(15)} ${detail}${took}\n`);
    },
    note: (line) => write(`  ${paint(33, '•')} ${line}\n`),
    heading: (line) => write(`\n${bold(line)}\n\n`),
    fields(rows) {
      const width = Math.max(...rows.map(([name]) => name.length));
      for (const [name, value] of rows) {
        write(`  ${dim(name.padEnd(width))}  ${/^https?:/.test(value) ? paint(36, value) : value}\n`);
      }
    },
    error: (message) => write(`\n${paint(31, '✗')} ${message}\n`),
  };
}

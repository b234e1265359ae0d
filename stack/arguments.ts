/** What `npm start --` takes. */
export interface StartArguments {
  /** port of the API; null: from the environment */
  readonly port: number | null;
  /** begin with an empty laboratory */
  readonly reset: boolean;
  readonly help: boolean;
}

export const USAGE = `Starts the laboratory: npm start [-- ARGUMENTS]

  --port N   port of the API (otherwise STORAGE_PORT, otherwise 8082)
  --reset    throw the demo laboratory's state away first
  --help     this text`;

/**
 * Reads the command line.
 * @throws Error with a sentence when an argument is unknown or incomplete
 */
export function parseArguments(args: readonly string[]): StartArguments {
  let port: number | null = null;
  let reset = false;
  let help = false;
  const rest = args.flatMap((arg) =>
    arg.startsWith('--port=') ? ['--port', arg.slice('--port='.length)] : [arg],
  );
  for (let i = 0; i < rest.length; i += 1) {
    const arg = rest[i];
    if (arg === '--reset') reset = true;
    else if (arg === '--help') help = true;
    else if (arg === '--port') {
      i += 1;
      const value = rest[i] ?? '';
      port = Number(value);
      if (!/^\d+$/.test(value) || port < 1 || port > 65_535) {
        throw new Error(
          `--port needs a number from 1 to 65535, not ${value === '' ? 'nothing' : `'${value}'`}.`,
        );
      }
    } else throw new Error(`npm start does not know '${arg}'.\n\n${USAGE}`);
  }
  return { port, reset, help };
}

import pino, { type DestinationStream, type Logger } from 'pino';

/** Values that never reach a log, wherever in a logged object they stand. */
const SECRET = new Set([
  'password',
  'secret',
  'token',
  'accessToken',
  'refreshToken',
  'authorization',
  'cookie',
  'email',
  'barcode',
]);
const DEEPEST = 5;

/** A copy without secrets. pino's own redaction by wildcards takes longer than the rest of a request. */
function withoutSecrets(logged: object, depth = 0): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(logged)) {
    if (SECRET.has(key)) copy[key] = '[redacted]';
    else if (typeof value !== 'object' || value === null || Array.isArray(value)) copy[key] = value;
    else if (value instanceof Error)
      copy[key] = { type: value.name, message: value.message, stack: value.stack };
    else if (depth < DEEPEST) copy[key] = withoutSecrets(value, depth + 1);
  }
  return copy;
}

/** The log of a process: JSON lines, secrets replaced, of errors only what is not their input. */
export function createLog(level: string, name: string, destination?: DestinationStream): Logger {
  const options = { name, level, formatters: { log: (logged: object) => withoutSecrets(logged) } };
  return destination ? pino(options, destination) : pino(options);
}

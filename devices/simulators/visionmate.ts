/**
 * A simulated VisionMate rack scanner: its TCP server, and a side channel with which a test or a person puts racks on it.
 * It knows nothing of the application.
 *
 *     node --import tsx devices/simulators/visionmate.ts [--port N] [--control-port N] [--host ADDRESS] [--order columns]
 *
 *     PUT  /rack   {tubes: {"A1": "T1", "B1": "No Read", …}}   put a rack on the glass and scan it; others are empty
 *     POST /fault  {kind: error | silent | cut | garbled, text?}   what the next command meets
 *     GET  /state                                             product, status, connections so far, commands
 *
 * Ports left out are chosen free. Prints `ready visionmate visionmate=HOST:PORT control=HOST:PORT`.
 */
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { listening } from './listening.ts';
import { numberOption } from './store-program.ts';

const END_OF_TEXT = '\u0003';
const STATUS = { initialised: 1, finished: 4, ready: 8, sent: 16, rack96: 32, error: 128 } as const;

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    'control-port': { type: 'string', default: '0' },
    order: { type: 'string', default: 'columns' },
  },
});

type Fault = 'error' | 'silent' | 'cut' | 'garbled';

const scanner = {
  rows: 8,
  columns: 12,
  status: STATUS.initialised | STATUS.rack96,
  line: null as string | null,
  lastError: '',
  fault: null as Fault | null,
  connections: 0,
  commands: [] as string[],
};

function product(): string {
  const two = (count: number) => String(count).padStart(2, '0');
  return `M${two(scanner.rows)}${two(scanner.columns)}`;
}

function reset(): void {
  scanner.line = null;
  scanner.status = STATUS.initialised | (product() === 'M0812' ? STATUS.rack96 : 0);
}

/** The glass sees wells, not boxes: it reads as many as it is set to. */
function scan(tubes: Readonly<Record<string, string>>): void {
  const wells: string[] = [];
  for (let index = 0; index < scanner.rows * scanner.columns; index++) {
    const [row, column] =
      values.order === 'columns'
        ? [index % scanner.rows, Math.floor(index / scanner.rows)]
        : [Math.floor(index / scanner.columns), index % scanner.columns];
    wells.push(tubes[`${String.fromCharCode(65 + row)}${column + 1}`] ?? 'No Tube');
  }
  scanner.line = wells.map((well) => `${well},`).join('');
  scanner.status |= STATUS.finished | STATUS.ready;
}

/** The reply to a command; null: the real one says nothing either. */
function answer(command: string): string | null {
  const setting = /^PM(\d\d)(\d\d)$/.exec(command);
  if (setting) {
    [scanner.rows, scanner.columns] = [Number(setting[1]), Number(setting[2])];
    reset();
    return `OK${command}`;
  }
  switch (command) {
    case 'L':
      return `OKL${scanner.status}`;
    case 'C':
      return `OKC${product()}`;
    case 'E':
      return `OKE${scanner.lastError}`;
    case 'Q':
      reset();
      return 'OKQ';
    case 'D':
      scanner.status |= STATUS.sent;
      return scanner.line === null ? null : `OKD${scanner.line}`;
    default:
      return `OK?${command}`;
  }
}

let current: Socket | null = null;
const server = createServer((socket) => {
  // One connection at a time: the newer one wins.
  current?.destroy();
  current = socket;
  scanner.connections += 1;
  socket.on('error', () => socket.destroy());
  let received = '';
  socket.on('data', (chunk) => {
    const lines = (received + chunk.toString('latin1')).split('\r\n');
    received = lines.pop() ?? '';
    for (const line of lines) {
      scanner.commands.push(line);
      const { fault } = scanner;
      if (fault !== 'error') scanner.fault = null;
      if (fault === 'cut') socket.destroy();
      if (fault === 'cut' || fault === 'silent') return;
      if (fault === 'error' && line === 'L') {
        scanner.fault = null;
        scanner.status |= STATUS.error;
      }
      const reply = fault === 'garbled' ? 'ÿ?' : answer(line);
      if (reply !== null) socket.write(`${reply}${END_OF_TEXT}`, 'latin1');
    }
  });
});

const control = createHttpServer(async (request, response) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  const body = text === '' ? {} : JSON.parse(text);
  const asked = `${request.method} ${request.url}`;
  if (asked === 'PUT /rack') scan(body.tubes);
  else if (asked === 'POST /fault') {
    scanner.fault = body.kind;
    scanner.lastError = body.text ?? '';
  } else if (asked !== 'GET /state') response.statusCode = 404;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ ...scanner, product: product() }));
});

const port = await listening(server, numberOption('port', values.port, 65_535), values.host);
const controlPort = await listening(
  control,
  numberOption('control-port', values['control-port'], 65_535),
  values.host,
);
const stop = () => process.exit(0);
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
process.on('disconnect', stop); // the parent that holds the other end of the channel is gone
console.log(`ready visionmate visionmate=${values.host}:${port} control=${values.host}:${controlPort}`);

import pg from 'pg';

/**
 * Connections that many short reads share: each statement is a transaction by itself, and goes out behind the others
 * without waiting for their answers. Under load one write carries many statements, where a connection of a pool carries
 * one at a time; a statement that takes long keeps those behind it waiting, so only reads by key belong here.
 */
export class SharedConnections {
  readonly #config: pg.ClientConfig;
  readonly #lines: Line[];
  #next = 0;

  /** @param count connections, opened when first used and anew after they broke */
  constructor(config: pg.ClientConfig, count: number) {
    this.#config = config;
    this.#lines = Array.from({ length: count }, () => ({ client: null, opening: null, corked: false }));
  }

  /** @throws what the database or the connection throws; the statement is not repeated */
  async query<R extends pg.QueryResultRow>(statement: pg.QueryConfig): Promise<pg.QueryResult<R>> {
    this.#next = (this.#next + 1) % this.#lines.length;
    const line = this.#lines[this.#next];
    if (!line) throw new Error('no connection is shared here');
    const client = line.client ?? (await this.#open(line));
    gather(line, client);
    return client.query<R>(statement);
  }

  #open(line: Line): Promise<pg.Client> {
    line.opening ??= this.#connect(line).finally(() => {
      line.opening = null;
    });
    return line.opening;
  }

  async #connect(line: Line): Promise<pg.Client> {
    const client = new pg.Client({ ...this.#config, pipeline: true });
    const forget = () => {
      if (line.client === client) line.client = null;
    };
    // Statements under way fail with it; the next one opens another.
    client.on('error', forget);
    client.on('end', forget);
    await client.connect();
    line.client = client;
    return client;
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#lines.map(async (line) => {
        await line.opening?.catch(() => undefined);
        await line.client?.end();
      }),
    );
  }
}

interface Line {
  client: pg.Client | null;
  opening: Promise<pg.Client> | null;
  corked: boolean;
}

/** Holds back what is written until everything that has come in by now has been looked at. */
function gather(line: Line, client: pg.Client): void {
  if (line.corked) return;
  const { stream } = client.connection;
  line.corked = true;
  stream.cork();
  setImmediate(() => {
    line.corked = false;
    stream.uncork();
  });
}

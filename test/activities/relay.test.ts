import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Aedes } from 'aedes';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { withChange } from '../../db/change.ts';
import { closeSession, openSession } from '../../db/session.ts';
import { inTenant, read } from '../../db/tenancy.ts';
import type { Actor } from '../../domain/actor.ts';
import { freePort } from '../../stack/processes.ts';
import { relayEvents } from '../../workers/relay.ts';
import { openLaboratory, type TestLaboratory } from '../setup/tenant.ts';

interface Message {
  readonly topic: string;
  readonly qos: number;
  readonly event: {
    id: string;
    type: string;
    position: string;
    source: string;
    data: Record<string, unknown>;
  };
}

/** A real broker on a port that it keeps over a restart; records what it was given before it acknowledges. */
class RecordingBroker {
  readonly received: Message[] = [];
  /** milliseconds a publication is kept waiting for its acknowledgement */
  acknowledgeAfter: (message: Message) => Promise<void> = async () => {};
  readonly #port: number;
  #aedes: Aedes | null = null;
  #server: Server | null = null;
  readonly #sockets = new Set<Socket>();

  constructor(port: number) {
    this.#port = port;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const aedes = await Aedes.createBroker();
    aedes.authorizePublish = (_client, packet, callback) => {
      const message = { topic: packet.topic, qos: packet.qos, event: JSON.parse(packet.payload.toString()) };
      this.received.push(message);
      this.acknowledgeAfter(message).then(() => callback(null), callback);
    };
    const server = createServer(aedes.handle);
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#aedes = aedes;
    this.#server = server;
  }

  /** As a crash does: connections are cut, nothing is acknowledged any more. */
  async crash(): Promise<void> {
    const [aedes, server] = [this.#aedes, this.#server];
    this.#aedes = null;
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    if (server) await new Promise((resolve) => server.close(resolve));
    if (aedes) await new Promise<void>((resolve) => aedes.close(() => resolve()));
  }

  /** Events of one tenant in the order of their first arrival. */
  firsts(tenantId: string): Message[] {
    const seen = new Set<string>();
    return this.received.filter(
      ({ event }) => event.source === `/tracseq/${tenantId}` && !seen.has(event.id) && seen.add(event.id),
    );
  }
}

let laboratory: TestLaboratory;
let broker: RecordingBroker;
let ending: AbortController[] = [];
let running: Promise<void>[] = [];

beforeAll(async () => {
  laboratory = await openLaboratory({ max: 8 });
});
afterEach(async () => {
  for (const each of ending) each.abort();
  await Promise.all(running);
  [ending, running] = [[], []];
  await broker.crash();
});
afterAll(() => laboratory.close());

async function startBroker(): Promise<void> {
  broker = new RecordingBroker(await freePort());
  await broker.start();
}

function startRelay(): { stop(): Promise<void> } {
  const end = new AbortController();
  const run = relayEvents(
    {
      databaseUrl: laboratory.database.relayUrl,
      brokerUrl: broker.url,
      log: pino({ level: 'silent' }),
      pollMs: 10,
      retryMs: 50,
    },
    end.signal,
  );
  ending.push(end);
  running.push(run);
  return {
    async stop() {
      end.abort();
      await run;
    },
  };
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what} did not happen within 20 s`);
    await sleep(10);
  }
}

/** Two events: a session opened and closed. */
async function makeEvents(actor: Actor, pairs: number): Promise<void> {
  for (let i = 0; i < pairs; i++) {
    const { sessionId } = await openSession(laboratory.app, actor);
    await closeSession(laboratory.app, actor, sessionId, 'signed_out');
  }
}

/** The tenant's events in the order of the ledger. */
function inLedger(actor: Actor) {
  return read(
    laboratory.app,
    actor.tenantId,
    laboratory.app.kysely
      .selectFrom('ledger.entry')
      .innerJoin('event', 'event.id', 'ledger.entry.event_id')
      .select(['event.id', 'event.position', 'event.published_at', 'event.type'])
      .orderBy('ledger.entry.seq')
      .compile(),
  );
}

const allPublished = (actor: Actor) => async () =>
  (await inLedger(actor)).every((event) => event.published_at !== null);

function expectGapless(events: { position: number | null }[]): void {
  expect(events.map((event) => event.position)).toEqual(events.map((_, i) => i + 1));
}

describe('the relay', () => {
  it('publishes every event as a CloudEvent, once, in the order of the ledger, with QoS 1', async () => {
    await startBroker();
    const actor = await laboratory.addTenant();
    await makeEvents(actor, 5);
    startRelay();
    await until('publishing', allPublished(actor));
    await makeEvents(actor, 5);
    await until('publishing', allPublished(actor));
    const stored = await inLedger(actor);
    expectGapless(stored);
    const received = broker.received.filter(({ event }) => event.source === `/tracseq/${actor.tenantId}`);
    expect(received.map(({ event }) => event.id)).toEqual(stored.map((event) => event.id));
    expect(received.map(({ event }) => event.position)).toEqual(
      stored.map((event) => String(event.position)),
    );
    for (const { topic, qos, event } of received) {
      expect(topic).toBe(`tracseq/${actor.tenantId}/events/${event.type}`);
      expect(qos).toBe(1);
      expect(event).toMatchObject({
        specversion: '1.0',
        stream: 'storage.events',
        datacontenttype: 'application/json',
      });
      expect(event.data.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    }
  });

  it('numbers without gaps while many commit and some fail, each tenant by itself', async () => {
    await startBroker();
    startRelay();
    const actors = await Promise.all([laboratory.addTenant(), laboratory.addTenant()]);
    const failing = actors.map((actor) =>
      withChange(laboratory.app, { actor, reason: 'sign_in' }, async () => {
        throw new Error('planned');
      }).catch(() => undefined),
    );
    await Promise.all([...actors.flatMap((actor) => [0, 1, 2].map(() => makeEvents(actor, 10))), ...failing]);
    for (const actor of actors) {
      await until('publishing', allPublished(actor));
      const stored = await inLedger(actor);
      expectGapless(stored);
      expect(broker.firsts(actor.tenantId).map(({ event }) => event.id)).toEqual(
        stored.map((event) => event.id),
      );
    }
  });

  it('does not number past a change that has not committed: nothing is filled in later', async () => {
    await startBroker();
    const actor = await laboratory.addTenant();
    startRelay();
    await until('publishing', allPublished(actor));
    const known = (await inLedger(actor)).length;
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let begun = () => {};
    const hasBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    // Began first, commits last.
    const slow = withChange(laboratory.app, { actor, reason: 'setup' }, async ({ tx, record }) => {
      const { id } = await tx
        .insertInto('station')
        .values({ tenant_id: actor.tenantId, name: 'Slow', secret_hash: 'x' })
        .returning('id')
        .executeTakeFirstOrThrow();
      record({
        aggregate: 'station',
        aggregateId: id,
        version: 1,
        type: 'identity.station.enrolled',
        from: null,
        to: 'active',
        before: null,
        after: null,
        data: {},
      });
      begun();
      await held;
    });
    await hasBegun;
    await makeEvents(actor, 1);
    await until(
      'publishing',
      async () => (await inLedger(actor)).length === known + 2 && (await allPublished(actor)()),
    );
    letGo();
    await slow;
    await until('publishing', allPublished(actor));
    const stored = await inLedger(actor);
    expectGapless(stored);
    expect(stored.at(-1)?.type).toBe('identity.station.enrolled');
    expect(broker.firsts(actor.tenantId).map(({ event }) => event.id)).toEqual(
      stored.map((event) => event.id),
    );
  });

  it('numbers while the broker is away, and publishes all of it when the broker is back', async () => {
    await startBroker();
    const actor = await laboratory.addTenant();
    startRelay();
    await until('publishing', allPublished(actor));
    await broker.crash();
    await makeEvents(actor, 10);
    await until('numbering', async () => (await inLedger(actor)).every((event) => event.position !== null));
    expect((await inLedger(actor)).filter((event) => event.published_at === null)).toHaveLength(20);
    await broker.start();
    await until('publishing', allPublished(actor));
    expect(broker.firsts(actor.tenantId).map(({ event }) => event.id)).toEqual(
      (await inLedger(actor)).map((event) => event.id),
    );
  });

  it('sends again what a crashing broker had taken but not acknowledged: at least once, first arrivals in order', async () => {
    await startBroker();
    const actor = await laboratory.addTenant();
    await makeEvents(actor, 10);
    let taken = 0;
    let cut = () => {};
    const isCut = new Promise<void>((resolve) => {
      cut = resolve;
    });
    broker.acknowledgeAfter = async () => {
      taken += 1;
      if (taken >= 7) {
        cut();
        await new Promise(() => {}); // the acknowledgement never leaves
      }
    };
    startRelay();
    await isCut;
    await broker.crash();
    expect((await inLedger(actor)).filter((event) => event.published_at !== null)).toEqual([]);
    broker.acknowledgeAfter = async () => {};
    await broker.start();
    await until('publishing', allPublished(actor));
    const stored = await inLedger(actor);
    const received = broker.received.filter(({ event }) => event.source === `/tracseq/${actor.tenantId}`);
    expect(received.length).toBeGreaterThan(stored.length);
    expect(broker.firsts(actor.tenantId).map(({ event }) => event.id)).toEqual(
      stored.map((event) => event.id),
    );
    // What came twice came under the same position.
    for (const { event } of received) {
      expect(event.position).toBe(String(stored.find(({ id }) => id === event.id)?.position));
    }
  });

  it('goes on after the database has cut its connection', async () => {
    await startBroker();
    const actor = await laboratory.addTenant();
    startRelay();
    await until('publishing', allPublished(actor));
    const admin = new pg.Client({ connectionString: laboratory.database.adminUrl });
    await admin.connect();
    const { rowCount } = await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tracseq_relay' AND datname = current_database()`,
    );
    await admin.end();
    expect(rowCount).toBe(1);
    await makeEvents(actor, 3);
    await until('publishing', allPublished(actor));
    expectGapless(await inLedger(actor));
  });

  it('works one at a time: a second relay waits, and takes over when the first ends', async () => {
    await startBroker();
    const actor = await laboratory.addTenant();
    const first = startRelay();
    await until('publishing', allPublished(actor));
    startRelay();
    await makeEvents(actor, 20);
    await until('publishing', allPublished(actor));
    expect(broker.received.filter(({ event }) => event.source === `/tracseq/${actor.tenantId}`)).toHaveLength(
      (await inLedger(actor)).length,
    );
    await first.stop();
    await makeEvents(actor, 3);
    await until('publishing', allPublished(actor));
    expectGapless(await inLedger(actor));
  });

  it('sees events and the order of entries, and nothing else', async () => {
    await startBroker();
    const client = new pg.Client({ connectionString: laboratory.database.relayUrl });
    await client.connect();
    try {
      for (const sql of [
        'SELECT leaf FROM ledger.entry',
        'SELECT * FROM sample',
        'SELECT * FROM app_user',
        'SELECT * FROM erasable_value',
        `SELECT signin.find_user('x')`,
        `UPDATE event SET data = '{}'`,
        'DELETE FROM event',
      ]) {
        await expect(client.query(sql), sql).rejects.toThrow(/permission denied/);
      }
    } finally {
      await client.end();
    }
  });

  it('leaves no event without an entry, which could never be numbered', async () => {
    await startBroker();
    const { app, administrator: actor } = laboratory;
    const stray = inTenant(app, actor.tenantId, (tx) =>
      tx
        .insertInto('event')
        .values({
          tenant_id: actor.tenantId,
          id: actor.userId,
          type: 't',
          subject: 's/1',
          time: new Date(0),
          actor: 'a',
          data: '{}',
        })
        .execute(),
    );
    await expect(stray).rejects.toThrow(/event_has_entry/);
  });
});

describe('the relay’s process', () => {
  async function start() {
    await startBroker();
    const child = fork(new URL('../../workers/relay.ts', import.meta.url), {
      execArgv: ['--import', 'tsx'],
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: {
        PATH: process.env.PATH,
        STORAGE_RELAY_DATABASE_URL: laboratory.database.relayUrl,
        MQTT_BROKER_URL: broker.url,
      },
    });
    const exited = once(child, 'exit');
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await until('readiness', () => said.includes('{"ready":true}') || child.exitCode !== null);
    expect(child.exitCode).toBeNull();
    return { child, exited };
  }

  it('says that it is ready, relays, and ends in good order on SIGTERM', async () => {
    const { child, exited } = await start();
    const actor = await laboratory.addTenant();
    await until('publishing', allPublished(actor));
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });

  it('ends when the process that started it is gone', async () => {
    const { child, exited } = await start();
    child.disconnect();
    expect(await exited).toEqual([0, null]);
  });
});

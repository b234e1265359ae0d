import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connectAsync, type MqttClient } from 'mqtt';
import pg from 'pg';
import { type Logger, pino } from 'pino';
import {
  becomeRelay,
  markPublished,
  numberEvents,
  tenantsWithEvents,
  unpublishedEvents,
} from '../db/events.ts';
import { cloudEvent, eventTopic, type StoredEvent } from '../domain/events.ts';
import { loadEnvironment } from '../schemas/environment.ts';

export interface RelayOptions {
  /** connection URL of the relay's role */
  readonly databaseUrl: string;
  readonly brokerUrl: string;
  readonly log: Logger;
  /** called once, when database and broker have answered */
  readonly onReady?: () => void;
  /** ms between looks at an empty outbox */
  readonly pollMs?: number;
  /** ms before a lost connection is tried again */
  readonly retryMs?: number;
}

/** Events of one tenant sent before waiting for their acknowledgements. */
const BATCH = 200;
/** ms the broker may take to acknowledge a batch. */
const ACKNOWLEDGE_MS = 10_000;

/**
 * Relays the outbox to MQTT until the signal: numbers events after their commit, publishes them in that order with QoS 1
 * and marks them once the broker has acknowledged. At least once: after a crash or a cut, events not known to be
 * acknowledged go out again under the same id and position.
 *
 * It looks every 100 ms instead of listening: NOTIFY takes a lock of the whole cluster at commit, which would put all
 * changes of all tenants into one line.
 */
export async function relayEvents(options: RelayOptions, signal: AbortSignal): Promise<void> {
  const broker = new Broker(options);
  let ready = false;
  const becomeReady = () => {
    if (!ready) options.onReady?.();
    ready = true;
  };
  try {
    while (!signal.aborted) {
      try {
        await relayOnConnection(options, broker, becomeReady, signal);
      } catch (error) {
        options.log.warn({ err: error }, 'the relay has lost the database and connects again');
        await pause(options.retryMs ?? 1_000, signal);
      }
    }
  } finally {
    await broker.close();
  }
}

/** One life of a database connection. Ends with the signal, or throws what ended the connection. */
async function relayOnConnection(
  options: RelayOptions,
  broker: Broker,
  becomeReady: () => void,
  signal: AbortSignal,
): Promise<void> {
  const client = new pg.Client({
    connectionString: options.databaseUrl,
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
  });
  client.on('error', () => undefined); // the next query reports it
  try {
    await client.connect();
    while (!(await becomeRelay(client))) {
      if (await broker.isUp()) becomeReady();
      await pause(options.retryMs ?? 1_000, signal);
      if (signal.aborted) return;
    }
    while (!signal.aborted) {
      const moved = await relayOnce(client, broker, signal);
      if (await broker.isUp()) becomeReady();
      if (moved === 0) await pause(options.pollMs ?? 100, signal);
    }
  } finally {
    await client.end().catch(() => undefined); // it may be broken already
  }
}

/** Numbers and publishes a batch of every tenant that has events. Returns how many were numbered or published. */
async function relayOnce(client: pg.Client, broker: Broker, signal: AbortSignal): Promise<number> {
  let moved = 0;
  for (const tenantId of await tenantsWithEvents(client)) {
    if (signal.aborted) break;
    // Numbering does not wait for the broker: readers of the stream go by positions.
    moved += await numberEvents(client, tenantId, BATCH);
    const events = await unpublishedEvents(client, tenantId, BATCH);
    const last = events.at(-1);
    if (last === undefined || !(await broker.publish(events))) continue;
    await markPublished(client, tenantId, last.position);
    moved += events.length;
  }
  return moved;
}

/** A connection to the broker that is made again when it is needed and was lost. */
class Broker {
  readonly #url: string;
  readonly #log: Logger;
  readonly #retryMs: number;
  #client: MqttClient | null = null;
  #notBefore = 0;

  constructor(options: RelayOptions) {
    this.#url = options.brokerUrl;
    this.#log = options.log;
    this.#retryMs = options.retryMs ?? 1_000;
  }

  async isUp(): Promise<boolean> {
    return (await this.#connected()) !== null;
  }

  /** Sends events in order; true when every one was acknowledged, false when the broker is not there. */
  async publish(events: readonly StoredEvent[]): Promise<boolean> {
    const client = await this.#connected();
    if (client === null) return false;
    const given = new AbortController();
    try {
      await Promise.race([
        Promise.all(
          events.map((event) =>
            client.publishAsync(eventTopic(event), JSON.stringify(cloudEvent(event)), {
              qos: 1,
            }),
          ),
        ),
        failure(client, given.signal),
      ]);
      return true;
    } catch (error) {
      this.#log.warn({ err: error }, 'the broker did not acknowledge: these events will be sent again');
      this.#drop(client);
      return false;
    } finally {
      given.abort();
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.endAsync().catch(() => undefined); // gone already
  }

  async #connected(): Promise<MqttClient | null> {
    if (this.#client?.connected) return this.#client;
    if (this.#client) this.#drop(this.#client);
    if (Date.now() < this.#notBefore) return null;
    try {
      // Nothing is kept on either side: what is not acknowledged is read from the outbox again.
      const client = await connectAsync(
        this.#url,
        { protocolVersion: 4, clean: true, reconnectPeriod: 0, connectTimeout: 5_000 },
        false,
      );
      client.on('error', () => undefined); // followed by 'close', which is looked at where it matters
      this.#client = client;
      return client;
    } catch (error) {
      this.#log.warn({ err: error }, 'the broker does not answer');
      this.#notBefore = Date.now() + this.#retryMs;
      return null;
    }
  }

  #drop(client: MqttClient): void {
    client.end(true);
    this.#client = null;
    this.#notBefore = Date.now() + this.#retryMs;
  }
}

/** Rejects when the connection closes or the acknowledgements take too long; hangs otherwise, until `done`. */
function failure(client: MqttClient, done: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const closed = () => reject(new Error('the connection to the broker closed'));
    const clock = setTimeout(
      () => reject(new Error(`no acknowledgement within ${ACKNOWLEDGE_MS / 1_000} s`)),
      ACKNOWLEDGE_MS,
    );
    client.once('close', closed);
    done.addEventListener('abort', () => {
      clearTimeout(clock);
      client.off('close', closed);
    });
  });
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined); // woken by the signal
}

/** The process: `tsx workers/relay.ts`. */
async function main(): Promise<void> {
  const environment = loadEnvironment(process.env, ['relayDatabaseUrl', 'mqttBrokerUrl']);
  const log = pino({ name: 'relay', level: environment.logLevel });
  const ending = new AbortController();
  process.once('SIGTERM', () => ending.abort());
  process.once('SIGINT', () => ending.abort());
  process.once('disconnect', () => ending.abort()); // the laboratory that started it is gone
  await relayEvents(
    {
      databaseUrl: environment.relayDatabaseUrl,
      brokerUrl: environment.mqttBrokerUrl,
      log,
      onReady: () => process.stdout.write(`${JSON.stringify({ ready: true })}\n`),
    },
    ending.signal,
  );
  process.channel?.unref();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { waitsOf } from '../../domain/waits.ts';
import { ENVIRONMENT_NAMES, loadEnvironment } from '../../schemas/environment.ts';

const enough = {
  STORAGE_DATABASE_URL: 'postgresql://tracseq_app:secret@127.0.0.1:5432/tracseq',
  TEMPORAL_ADDRESS: '127.0.0.1:7233',
  MQTT_BROKER_URL: 'mqtt://127.0.0.1:1883',
};

describe('the environment', () => {
  it('takes presets for everything that has one', () => {
    const environment = loadEnvironment(enough);
    expect(environment).toMatchObject({
      storageHost: '127.0.0.1',
      storagePort: 8082,
      temporalNamespace: 'default',
      iotEnabled: true,
      redisUrl: null,
      relayDatabaseUrl: null,
    });
  });

  it('knows the programs of a Temporal cluster, and how many proxies stand before the API', () => {
    expect(
      loadEnvironment({
        ...enough,
        TEMPORAL_SERVER_PATH: '/opt/temporal-server',
        TEMPORAL_SQL_TOOL_PATH: '/opt/temporal-sql-tool',
        STORAGE_PROXY_HOPS: '1',
      }),
    ).toMatchObject({
      temporalServerPath: '/opt/temporal-server',
      temporalSqlToolPath: '/opt/temporal-sql-tool',
      proxyHops: 1,
    });
    expect(loadEnvironment(enough)).toMatchObject({ temporalServerPath: null, proxyHops: 0 });
    expect(() => loadEnvironment({ ...enough, STORAGE_PROXY_HOPS: '1.5' })).toThrow(/STORAGE_PROXY_HOPS/);
  });

  it('counts an empty variable as not set', () => {
    expect(loadEnvironment({ ...enough, STORAGE_PORT: '', REDIS_URL: ' ' })).toMatchObject({
      storagePort: 8082,
      redisUrl: null,
    });
  });

  it('reads switches in the usual spellings', () => {
    const environment = loadEnvironment({
      ...enough,
      IOT_ENABLED: 'false',
      MOBILE_ENABLED: '0',
      ANALYTICS_ENABLED: 'TRUE',
    });
    expect(environment).toMatchObject({ iotEnabled: false, mobileEnabled: false, analyticsEnabled: true });
  });

  it('takes a laboratory’s own waiting times, in seconds', () => {
    const given = loadEnvironment({ ...enough, AUTOMATION_WAITS: '{"lease":60,"escalate":[60,300]}' });
    expect(waitsOf(given.automationWaits)).toEqual({ leaseMs: 60_000, escalateMs: [60_000, 300_000] });
    expect(waitsOf(loadEnvironment(enough).automationWaits)).toEqual({});
    for (const wrong of ['5 minutes', '{"pickup":"5"}', '{"pickup":0}', '{"pickUp":5}']) {
      expect(() => loadEnvironment({ ...enough, AUTOMATION_WAITS: wrong })).toThrow(/AUTOMATION_WAITS/);
    }
  });

  it('refuses to run without the ledger', () => {
    expect(() => loadEnvironment({ ...enough, BLOCKCHAIN_ENABLED: 'false' })).toThrow(
      /BLOCKCHAIN_ENABLED.*every change is recorded in the ledger/,
    );
    expect(() => loadEnvironment({ ...enough, BLOCKCHAIN_ENABLED: 'true' })).not.toThrow();
  });

  it('reports every mistake at once', () => {
    const wrong = {
      STORAGE_PORT: '80820',
      STORAGE_DATABASE_URL: 'mysql://root:hunter2@db/tracseq',
      TEMPORAL_ADDRESS: 'http://temporal:7233',
      IOT_ENABLED: 'perhaps',
      SENSOR_POLLING_INTERVAL: '0',
      BLOCKCHAIN_ENABLED: 'no',
    };
    let message = '';
    try {
      loadEnvironment(wrong);
    } catch (error) {
      message = String(error);
    }
    for (const name of [...Object.keys(wrong), 'MQTT_BROKER_URL']) expect(message).toContain(name);
    expect(message).toContain('"80820"');
    expect(message).toContain('host:port');
    expect(message, 'a password stays out of messages').not.toContain('hunter2');
  });

  it('asks a process only for what it needs', () => {
    expect(() => loadEnvironment({}, [])).not.toThrow();
    expect(() => loadEnvironment({}, ['relayDatabaseUrl'])).toThrow('STORAGE_RELAY_DATABASE_URL is not set');
    const url: string = loadEnvironment({ STORAGE_RELAY_DATABASE_URL: enough.STORAGE_DATABASE_URL }, [
      'relayDatabaseUrl',
    ]).relayDatabaseUrl;
    expect(url).toBe(enough.STORAGE_DATABASE_URL);
  });

  it('is described whole in .env.example', () => {
    const example = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
    const named = [...example.matchAll(/^# ?([A-Z_]+)=/gm)].map((match) => match[1]);
    expect(named.toSorted()).toEqual([...ENVIRONMENT_NAMES].toSorted());
  });

  it('takes the examples of .env.example', () => {
    const example = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
    const values = [...example.matchAll(/^# ?([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
    expect(() => loadEnvironment(Object.fromEntries(values))).not.toThrow();
  });
});

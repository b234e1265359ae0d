import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ledgerRootAt } from '../../db/backup.ts';
import { type Database, openDatabase } from '../../db/connection.ts';
import { createTenant } from '../../db/identity.ts';
import { checkLedger } from '../../db/ledger.ts';
import { createLocation } from '../../db/location-changes.ts';
import { migrate } from '../../db/migrate.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Actor } from '../../domain/actor.ts';
import { backUp } from '../../stack/backup.ts';
import { readManifest } from '../../stack/backup-files.ts';
import { prepareCluster } from '../../stack/database.ts';
import { type Cluster, startCluster, TEST_SETTINGS } from '../../stack/postgres.ts';
import { until } from '../../stack/processes.ts';
import { main, restore } from '../../stack/restore.ts';
import { createScreen } from '../../stack/screen.ts';
import { State } from '../../stack/state.ts';
import { createTestDatabase } from '../setup/database.ts';

const folder = mkdtempSync(join(tmpdir(), 'tracseq-backup-'));
chmodSync(folder, 0o755);
let said = '';
const screen = createScreen((text) => {
  said += text;
}, false);
const running: { cluster: Cluster; app: Database; state: State }[] = [];
let actor: Actor;

/** The part of a laboratory that a backup is about: a state with its cluster, as npm start has it. */
async function open(name: string): Promise<{ cluster: Cluster; app: Database; state: State; owner: string }> {
  const state = await State.open(join(folder, name), 'demo', { reset: false, say: () => undefined });
  state.claim(8082);
  const port = await state.port('PostgreSQL');
  const cluster = await startCluster({
    dataDir: state.path('postgres'),
    port,
    settings: TEST_SETTINGS,
    logFile: state.logFile('postgres'),
  });
  const urls = await prepareCluster(cluster);
  const opened = { cluster, app: openDatabase(urls.app), state, owner: urls.owner };
  running.push(opened);
  return opened;
}

async function close(opened: (typeof running)[number]): Promise<void> {
  running.splice(running.indexOf(opened), 1);
  await opened.app.close();
  await opened.cluster.stop();
  opened.state.release();
}

const addSite = (app: Database, name: string) =>
  createLocation(
    app,
    { actor, reason: 'setup' },
    {
      type: 'site',
      name,
      parent: null,
      barcode: null,
      zone: null,
      sampleTypes: null,
      grid: null,
      isHandoff: null,
      robotAddress: null,
    },
  );

const sites = async (app: Database): Promise<string[]> => {
  const { rows } = await inTenant(app, actor.tenantId, (tx) =>
    sql<{ name: string }>`SELECT name FROM location WHERE tenant_id = ${actor.tenantId} ORDER BY id`.execute(
      tx,
    ),
  );
  return rows.map((row) => row.name);
};

const bring = (name: string, from: string, isSure = async () => true) =>
  restore({ folder: join(folder, name), from, apiPort: 8082, isSure, screen });

let backup: string;
/** sites whose entry had been answered when the backup began, and when it was over */
let [before, after] = [0, 0];

beforeAll(async () => {
  const laboratory = await open('here');
  await migrate(laboratory.owner);
  const owner = openDatabase(laboratory.owner, { max: 1 });
  const made = await createTenant(owner, {
    name: 'Laboratory',
    administrator: { email: 'ada@example.org', displayName: 'Ada', password: 'a long enough password' },
  });
  await owner.close();
  actor = made.administrator;
  writeFileSync(laboratory.state.path('token-key.pem'), 'the key', { mode: 0o600 });

  // Writes go on, and the log is switched under the copy, while the backup is taken.
  let stop = false;
  let written = 0;
  const writing = (async () => {
    while (!stop) {
      written += 1;
      await addSite(laboratory.app, `Site ${written}`);
    }
  })();
  await until('some writes', 20_000, () => written > 20);
  before = written - 1;
  backup = await backUp(join(folder, 'here'), 8082, join(folder, 'backups'), screen);
  after = written;
  stop = true;
  await writing;
  await close(laboratory);
}, 120_000);
afterAll(async () => {
  for (const each of [...running]) await close(each);
  rmSync(folder, { recursive: true, force: true });
});

describe('npm run backup', () => {
  it('copies a laboratory that works, for its owner alone, and says what it has', () => {
    const manifest = readManifest(backup);
    expect(manifest.tenants).toMatchObject([{ id: actor.tenantId, samples: 0, openJobs: 0, robots: 0 }]);
    expect(manifest.files.map((file) => file.path)).toEqual(
      expect.arrayContaining([
        'postgres/PG_VERSION',
        'postgres/backup_label',
        'postgres.secret',
        'token-key.pem',
      ]),
    );
    for (const { path } of manifest.files) expect(statSync(join(backup, path)).mode & 0o077, path).toBe(0);
    expect(readdirSync(join(folder, 'backups')).filter((name) => name.endsWith('.partial'))).toEqual([]);
    expect(said).toContain('read back and compared');
  });

  it('refuses a folder without a laboratory', async () => {
    await expect(backUp(join(folder, 'nowhere'), 8082, folder, screen)).rejects.toThrow(
      /There is no laboratory in .*nowhere/,
    );
  });
});

describe('npm run restore', () => {
  it('gives back every change that was answered before the copy began, with a ledger that holds', async () => {
    const since = Date.now();
    await bring('there', backup);
    console.log(`restored in ${((Date.now() - since) / 1000).toFixed(1)} s`);
    const there = await open('there');
    const names = await sites(there.app);
    expect(names.length).toBeGreaterThanOrEqual(before);
    expect(names.length).toBeLessThanOrEqual(after + 1);
    expect(names).toEqual(names.map((_, index) => `Site ${index + 1}`));
    const report = await checkLedger(there.app, actor.tenantId);
    expect(report).toMatchObject({ ok: true, faults: 0 });
    const { ledger } = readManifest(backup).tenants[0] ?? { ledger: { size: 0, root: '' } };
    expect(await ledgerRootAt(there.app, actor.tenantId, ledger.size)).toBe(ledger.root);
    expect(await ledgerRootAt(there.app, actor.tenantId, report.size + 1)).toBeUndefined();
    expect(readFileSync(there.state.path('token-key.pem'), 'utf8')).toBe('the key');
    expect(await addSite(there.app, 'After the restore')).toEqual(expect.any(String));
    // A backup of the restored one, while it is stopped.
    await close(there);
    const second = await backUp(join(folder, 'there'), 8082, join(folder, 'backups'), screen);
    await bring('elsewhere', second);
    const elsewhere = await open('elsewhere');
    expect(await sites(elsewhere.app)).toContain('After the restore');
    await close(elsewhere);
  }, 180_000);

  it('sets what was there aside, and leaves the robots’ world alone', async () => {
    const here = join(folder, 'here');
    writeFileSync(join(here, 'robot', 'world.json'), 'the world');
    writeFileSync(join(here, 'temporal', 'temporal-1.db'), 'another history');
    writeFileSync(join(here, 'token-key.pem'), 'a newer key');
    await bring('here', backup);
    const [aside] = readdirSync(here).filter((name) => name.startsWith('before-'));
    expect(readFileSync(join(here, 'robot', 'world.json'), 'utf8')).toBe('the world');
    expect(readFileSync(join(here, aside ?? '', 'temporal', 'temporal-1.db'), 'utf8')).toBe(
      'another history',
    );
    expect(readdirSync(join(here, 'temporal'))).toEqual([]);
    expect(readFileSync(join(here, 'token-key.pem'), 'utf8')).toBe('the key');
    expect(readdirSync(here).some((name) => name.startsWith('postgres.before-'))).toBe(true);
    expect(existsSync(join(here, 'running.json'))).toBe(false);
  }, 120_000);

  it('refuses while the laboratory runs', async () => {
    const busy = await State.open(join(folder, 'here'), 'demo', { reset: false, say: () => undefined });
    busy.claim(8082);
    await expect(bring('here', backup)).rejects.toThrow(/is running already/);
    busy.release();
  });

  it('changes nothing when nobody is sure', async () => {
    await expect(bring('untouched', backup, async () => false)).rejects.toThrow('Nothing was changed');
    expect(existsSync(join(folder, 'untouched', 'postgres'))).toBe(false);
  });

  it('lets nothing start on what a broken-off restore left', async () => {
    const half = join(folder, 'half');
    const state = await State.open(half, 'demo', { reset: false, say: () => undefined });
    state.exchanging({ from: backup });
    const open = State.open(half, 'demo', { reset: false, say: () => undefined });
    await expect(open).rejects.toThrow(/A restore of .*half was broken off half-way/);
    await bring('half', backup);
    await expect(State.open(half, 'demo', { reset: false, say: () => undefined })).resolves.toBeInstanceOf(
      State,
    );
  }, 120_000);

  it('refuses a backup that is not as it was written', async () => {
    const copy = await backUpCopy('tampered');
    const file = join(copy, 'postgres', 'global', 'pg_control');
    const content = readFileSync(file);
    content[100] = (content[100] ?? 0) ^ 1;
    writeFileSync(file, content);
    await expect(bring('never', copy)).rejects.toThrow(/pg_control is not the file that was backed up/);

    const added = await backUpCopy('added');
    writeFileSync(join(added, 'postgres', 'postgresql.auto.conf.new'), 'x');
    await expect(bring('never', added)).rejects.toThrow(/is not in the manifest/);

    const missing = await backUpCopy('missing');
    rmSync(join(missing, 'token-key.pem'));
    await expect(bring('never', missing)).rejects.toThrow(/token-key\.pem is missing/);

    const newer = await backUpCopy('newer');
    change(newer, (manifest) => ({ ...manifest, schema: '9999_later.sql' }));
    await expect(bring('never', newer)).rejects.toThrow(
      /last migration 9999_later\.sql this one does not have/,
    );

    const broken = await backUpCopy('broken');
    appendFileSync(join(broken, 'manifest.json'), '}');
    await expect(bring('never', broken)).rejects.toThrow(/is not JSON/);
    await expect(bring('never', join(folder, 'nowhere'))).rejects.toThrow(/is no backup/);
    expect(existsSync(join(folder, 'never', 'postgres'))).toBe(false);
  });

  it('refuses a database whose ledger is not the manifest’s', async () => {
    const copy = await backUpCopy('other-ledger');
    change(copy, (manifest) => ({
      ...manifest,
      tenants: manifest.tenants.map((tenant) => ({
        ...tenant,
        ledger: { ...tenant.ledger, root: 'ab'.repeat(32) },
      })),
    }));
    await expect(bring('other', copy)).rejects.toThrow(/does not begin with the \d+ entries of the manifest/);
    expect(existsSync(join(folder, 'other', 'postgres'))).toBe(false);
  }, 60_000);
});

describe('npm run restore -- --mark', () => {
  it('marks a database that other tools have restored, when nothing else is connected to it', async () => {
    const database = await createTestDatabase();
    const owner = openDatabase(database.ownerUrl, { max: 1 });
    await createTenant(owner, {
      name: 'Elsewhere',
      administrator: { email: 'eve@example.org', displayName: 'Eve', password: 'a long enough password' },
    });
    const env = { STORAGE_DATABASE_URL: database.appUrl, STORAGE_RELAY_DATABASE_URL: database.relayUrl };
    const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    try {
      expect(await main(['--mark', '2026-03-02T08:15:00Z'], env)).toBe(1);
      await owner.close();
      expect(await main(['--mark', 'yesterday'], env)).toBe(1);
      expect(await main(['--mark', '2026-03-02T08:15:00Z'], env)).toBe(0);
      expect(await main([backup, '--yes'], env)).toBe(1);
      const text = printed.mock.calls.map(([chunk]) => String(chunk)).join('');
      expect(text).toMatch(/is connected to the database: stop it first/);
      expect(text).toMatch(/not 'yesterday'/);
      expect(text).toMatch(/marked .* 0 robots held/);
      expect(text).toMatch(/pg_basebackup on that server/);
    } finally {
      printed.mockRestore();
      await database.drop();
    }
  });
});

async function backUpCopy(name: string): Promise<string> {
  const copy = join(folder, 'copies', name);
  await cp(backup, copy, { recursive: true });
  return copy;
}

function change(copy: string, edit: (manifest: ReturnType<typeof readManifest>) => unknown): void {
  const manifest = edit(readManifest(copy));
  writeFileSync(join(copy, 'manifest.json'), JSON.stringify(manifest));
}

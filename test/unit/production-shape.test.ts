import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';

const root = fileURLToPath(new URL('../../', import.meta.url));

const composeFile = z.object({
  services: z.record(
    z.string(),
    z.looseObject({
      image: z.string(),
      restart: z.string(),
      command: z.array(z.string()).optional(),
      networks: z.array(z.string()).optional(),
      ports: z.array(z.string()).default([]),
      volumes: z.array(z.string()).default([]),
      secrets: z.array(z.string()).default([]),
      environment: z.record(z.string(), z.string()).default({}),
      healthcheck: z.unknown().optional(),
    }),
  ),
  networks: z.record(z.string(), z.looseObject({ internal: z.boolean().optional() })),
  volumes: z.record(z.string(), z.unknown()),
  secrets: z.record(z.string(), z.object({ file: z.string() })),
});

const compose = composeFile.parse(
  parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }),
);
const services = Object.entries(compose.services);
const ours = services.filter(([, service]) => service.image.startsWith('tracseq:'));

test('the linter finds nothing: the file follows the schema of the compose specification', () => {
  const lint = spawnSync('node_modules/.bin/dclint', ['docker-compose.yml', '--max-warnings', '0'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(lint.stdout.trim()).toBe('');
  expect(lint.status).toBe(0);
  // A second opinion where Docker's own reader is installed.
  if (spawnSync('docker', ['compose', 'version']).status === 0) {
    execFileSync('docker', ['compose', '--file', 'docker-compose.yml', 'config', '--quiet'], { cwd: root });
  }
});

test('no database can be reached from outside, and nothing is published beyond the loopback', () => {
  for (const [name, service] of services) {
    for (const port of service.ports) expect(port).toMatch(/^127\.0\.0\.1:/);
    if (/database|redis|^temporal$/.test(name)) {
      expect(service.ports, name).toEqual([]);
      const reached = service.networks ?? [];
      expect(reached.length, name).toBeGreaterThan(0);
      for (const network of reached)
        expect(compose.networks[network]?.internal, `${name} on ${network}`).toBe(true);
    }
  }
});

test('every image has a fixed version', () => {
  for (const [name, service] of services) expect(service.image, name).toMatch(/:(?!latest)[\w.${}:-]+$/);
});

test('what others wait for says whether it is healthy', () => {
  for (const [name, service] of services) {
    const isOneShot = service.restart === 'no';
    const isWorker = ['control', 'gateway', 'relay', 'sweep'].includes(name);
    if (!isOneShot && !isWorker) expect(service.healthcheck, name).toBeDefined();
  }
});

test('the programs our image is told to run are there', () => {
  for (const [name, service] of ours) {
    const [program = ''] = service.command ?? [];
    expect(existsSync(join(root, program)), `${name} runs ${program}`).toBe(true);
  }
});

test('every file mounted and every volume used is there, and none is left over', () => {
  const used = new Set<string>();
  for (const [, service] of services) {
    for (const volume of service.volumes) {
      const [source = ''] = volume.split(':');
      if (source.startsWith('./')) expect(existsSync(join(root, source)), source).toBe(true);
      else used.add(source);
    }
  }
  expect([...used].sort()).toEqual(Object.keys(compose.volumes).sort());
});

test('passwords come from files only, and the script that writes the files writes all of them', () => {
  const folder = mkdtempSync(join(tmpdir(), 'secrets-'));
  try {
    execFileSync(process.execPath, ['--import', 'tsx', 'stack/production/secrets.ts', folder], { cwd: root });
    const written = new Set(readdirSync(folder));
    for (const { file } of Object.values(compose.secrets)) {
      expect(written, file).toContain(file.replace('deploy/secrets/', ''));
    }
    const first = readFileSync(join(folder, 'storage_database_url'), 'utf8');
    execFileSync(process.execPath, ['--import', 'tsx', 'stack/production/secrets.ts', folder], { cwd: root });
    expect(readFileSync(join(folder, 'storage_database_url'), 'utf8')).toBe(first);
  } finally {
    rmSync(folder, { recursive: true });
  }
  const named = new Set(services.flatMap(([, service]) => service.secrets));
  expect([...named].sort()).toEqual(Object.keys(compose.secrets).sort());
  for (const [name, service] of services) {
    for (const [variable, value] of Object.entries(service.environment)) {
      if (!/PASSWORD|SECRET|_URL(_|$)|SIGNING_KEY/.test(variable)) continue;
      expect(value, `${name}: ${variable}`).toMatch(/^\/run\/secrets\//);
      expect(service.secrets, `${name}: ${variable}`).toContain(value.replace('/run/secrets/', ''));
    }
  }
});

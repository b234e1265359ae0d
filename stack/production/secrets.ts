import { generateKeyPairSync, pbkdf2Sync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LoginRole, rolePassword } from '../../db/roles.ts';

/**
 * Writes the secrets that docker-compose.yml names, those that are missing; never changes one that is there.
 * The folder is closed to other users; the files in it are readable, because containers read them as users of their own.
 */
const folder = process.argv[2] ?? fileURLToPath(new URL('../../deploy/secrets/', import.meta.url));
mkdirSync(folder, { recursive: true, mode: 0o700 });

function secret(name: string, make: () => string): string {
  const file = join(folder, name);
  if (!existsSync(file)) {
    writeFileSync(file, make(), { mode: 0o644 });
    console.log(`wrote ${name}`);
  }
  return readFileSync(file, 'utf8');
}

const word = () => randomBytes(24).toString('base64url');

/** As mosquitto_passwd writes it: PBKDF2 with SHA-512. */
function mosquittoEntry(user: string, password: string): string {
  const salt = randomBytes(12);
  const rounds = 10_000;
  const hash = pbkdf2Sync(password, salt, rounds, 64, 'sha512');
  return `${user}:$7$${rounds}$${salt.toString('base64')}$${hash.toString('base64')}\n`;
}

const superuser = secret('database_password', word);
const clusterSecret = secret('database_cluster_secret', word);
secret(
  'database_admin_url',
  () => `postgresql://postgres:${superuser}@database:5432/postgres?sslmode=verify-full`,
);
const roles: Readonly<Record<string, LoginRole>> = {
  storage_owner_database_url: 'tracseq_owner',
  storage_database_url: 'tracseq_app',
  storage_relay_database_url: 'tracseq_relay',
  storage_signer_database_url: 'tracseq_signer',
};
for (const [name, role] of Object.entries(roles)) {
  secret(
    name,
    () =>
      `postgresql://${role}:${rolePassword(role, clusterSecret)}@database:5432/tracseq?sslmode=verify-full`,
  );
}
secret('temporal_database_password', word);
const mqtt = secret('mqtt_password', word);
const reader = secret('mqtt_reader_password', word);
secret('mqtt_passwords', () => mosquittoEntry('tracseq', mqtt) + mosquittoEntry('reader', reader));
secret('mqtt_broker_url', () => `mqtts://tracseq:${mqtt}@mqtt:8883`);
const redis = secret('redis_password', word);
secret('redis.conf', () => `requirepass ${redis}\n`);
secret('redis_url', () => `rediss://:${redis}@redis:6379`);
secret('token_signing_key', () =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
);

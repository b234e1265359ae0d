import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, expect, test } from 'vitest';
import { issueCertificates } from '../../stack/cluster/certificates.ts';

const folder = mkdtempSync(join(tmpdir(), 'certificates-'));
const parties = [
  { name: 'server', hosts: ['temporal', 'localhost', '127.0.0.1'] },
  { name: 'client', hosts: ['tracseq'] },
];
afterAll(() => rmSync(folder, { recursive: true }));

const read = (party: string, file: string) => readFileSync(join(folder, party, file));

/** What a server that asks for certificates makes of a client: the client's name, or the refusal. */
async function handshake(client: { cert?: Buffer; key?: Buffer }, host: string): Promise<string> {
  const server = createServer({
    cert: read('server', 'cert.pem'),
    key: read('server', 'key.pem'),
    ca: read('server', 'ca.pem'),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
  });
  try {
    return await new Promise<string>((resolve, reject) => {
      server.once('secureConnection', (socket: TLSSocket) => {
        const { CN } = socket.getPeerCertificate().subject;
        resolve(Array.isArray(CN) ? CN.join() : CN);
        socket.end();
      });
      server.once('tlsClientError', (error) => reject(error));
      server.listen(0, '127.0.0.1', () => {
        const bound = server.address();
        if (bound === null || typeof bound === 'string') return reject(new Error('no port'));
        const socket = connect({
          port: bound.port,
          host: '127.0.0.1',
          servername: host,
          ca: read('client', 'ca.pem'),
          ...client,
        });
        socket.on('error', reject);
      });
    });
  } finally {
    server.close();
  }
}

test('a client with a certificate of the authority is let in, one without is not', async () => {
  expect(issueCertificates(folder, parties)).toEqual(['server', 'client']);
  const client = { cert: read('client', 'cert.pem'), key: read('client', 'key.pem') };
  expect(await handshake(client, 'temporal')).toBe('client');
  await expect(handshake({}, 'temporal')).rejects.toThrow(/certificate/i);
});

test('a server under another name is not believed', async () => {
  const client = { cert: read('client', 'cert.pem'), key: read('client', 'key.pem') };
  await expect(handshake(client, 'elsewhere')).rejects.toThrow(/elsewhere/);
});

test('a certificate of another authority is not let in', async () => {
  const foreign = mkdtempSync(join(tmpdir(), 'foreign-'));
  try {
    issueCertificates(foreign, [{ name: 'client', hosts: ['tracseq'] }]);
    const client = {
      cert: readFileSync(join(foreign, 'client', 'cert.pem')),
      key: readFileSync(join(foreign, 'client', 'key.pem')),
    };
    await expect(handshake(client, 'temporal')).rejects.toThrow();
  } finally {
    rmSync(foreign, { recursive: true });
  }
});

test('what is good is kept, what got another name is issued again', () => {
  const before = read('server', 'cert.pem');
  expect(issueCertificates(folder, parties)).toEqual([]);
  expect(read('server', 'cert.pem').equals(before)).toBe(true);
  const renamed = [{ name: 'server', hosts: ['temporal', 'new.example'] }];
  expect(issueCertificates(folder, renamed)).toEqual(['server']);
  const issued = new X509Certificate(read('server', 'cert.pem'));
  expect(issued.subjectAltName).toBe('DNS:temporal, DNS:new.example');
  expect(issued.ca).toBe(false);
  expect(issueCertificates(folder, parties)).toEqual(['server']);
});

test('keys are readable by their owner alone', () => {
  for (const file of ['authority/ca.key', 'server/key.pem']) {
    expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
  }
});

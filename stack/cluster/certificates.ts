import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';

/** One server or client of the test CA. Its folder holds `ca.pem`, `cert.pem` and `key.pem`. */
export interface Party {
  /** common name, and name of its folder */
  readonly name: string;
  /** host names and IPv4 addresses it is reached under */
  readonly hosts: readonly string[];
  /** user id the files are given to; needs root */
  readonly owner?: number;
}

const YEAR_MS = 365 * 24 * 3_600_000;
/** Certificates with less than this left are issued again. */
const RENEW_BEFORE_MS = 30 * 24 * 3_600_000;

/**
 * Issues what is missing or runs out: a test CA in `directory/authority` and a certificate for each party, good for TLS
 * servers and clients alike (mutual TLS). Repeating it changes nothing. A CA for trials: its key lies beside it.
 * @returns names of the parties whose certificate was issued now
 */
export function issueCertificates(directory: string, parties: readonly Party[]): string[] {
  const authority = join(directory, 'authority');
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  mkdirSync(authority, { recursive: true, mode: 0o700 });
  const subject = 'TracSeq test CA';
  let caPem = readFresh(join(authority, 'ca.pem'));
  let caKey: KeyObject;
  if (caPem === undefined) {
    const pair = newKeys();
    caKey = pair.privateKey;
    caPem = certificate({
      subject,
      issuer: subject,
      publicKey: pair.publicKey,
      signer: caKey,
      hosts: null,
      years: 5,
    });
    writeKey(join(authority, 'ca.key'), caKey);
    writePublic(join(authority, 'ca.pem'), caPem);
  } else {
    caKey = createPrivateKey(readFileSync(join(authority, 'ca.key')));
  }
  const issued: string[] = [];
  for (const party of parties) {
    const folder = join(directory, party.name);
    if (isCurrent(folder, caPem, party)) continue;
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    const pair = newKeys();
    const pem = certificate({
      subject: party.name,
      issuer: subject,
      publicKey: pair.publicKey,
      signer: caKey,
      hosts: party.hosts,
      years: 1,
    });
    writeKey(join(folder, 'key.pem'), pair.privateKey);
    writePublic(join(folder, 'cert.pem'), pem);
    writePublic(join(folder, 'ca.pem'), caPem);
    if (party.owner !== undefined) {
      for (const file of ['key.pem', 'cert.pem', 'ca.pem'])
        chownSync(join(folder, file), party.owner, party.owner);
    }
    issued.push(party.name);
  }
  return issued;
}

function readFresh(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const pem = readFileSync(path, 'utf8');
  return Date.parse(new X509Certificate(pem).validTo) - Date.now() > RENEW_BEFORE_MS ? pem : undefined;
}

function isCurrent(folder: string, caPem: string, party: Party): boolean {
  const pem = readFresh(join(folder, 'cert.pem'));
  if (pem === undefined || !existsSync(join(folder, 'key.pem'))) return false;
  const found = new X509Certificate(pem);
  return (
    found.verify(createPublicKey(caPem)) &&
    party.hosts.every((host) => (isIP(host) ? found.checkIP(host) : found.checkHost(host)) !== undefined)
  );
}

function newKeys() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function writeKey(path: string, key: KeyObject): void {
  replace(path, key.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
}

function writePublic(path: string, pem: string): void {
  replace(path, pem, 0o644);
}

/** Written beside and renamed, so that a reader never sees half a file. */
function replace(path: string, content: string, mode: number): void {
  writeFileSync(`${path}.new`, content, { mode });
  renameSync(`${path}.new`, path);
}

// ── X.509 version 3 (RFC 5280) in DER (X.690), as far as a test CA needs it ──────────────────────────────────────────

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const size = Buffer.from(body.length.toString(16).padStart(body.length > 0xff ? 4 : 2, '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | size.length]), size, body]);
}

const sequence = (...parts: readonly Buffer[]) => der(0x30, ...parts);
const octets = (...parts: readonly Buffer[]) => der(0x04, ...parts);
const bits = (content: Buffer, unused = 0) => der(0x03, Buffer.from([unused]), content);
const TRUE = Buffer.from([0x01, 0x01, 0xff]);

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

/** UTCTime until 2049 (RFC 5280, 4.1.2.5). */
function utcTime(at: Date): Buffer {
  return der(0x17, Buffer.from(`${at.toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`, 'ascii'));
}

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(name, 'utf8')))));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return critical ? sequence(oid(id), TRUE, octets(value)) : sequence(oid(id), octets(value));
}

function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

interface Request {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  /** null makes an authority */
  readonly hosts: readonly string[] | null;
  readonly years: number;
}

function certificate(request: Request): string {
  const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive, and no leading zero octet
  const extensions = [
    extension('2.5.29.14', false, octets(keyIdentifier(request.publicKey))),
    extension('2.5.29.35', false, sequence(der(0x80, keyIdentifier(createPublicKey(request.signer))))),
  ];
  if (request.hosts === null) {
    extensions.push(
      extension('2.5.29.19', true, sequence(TRUE)),
      extension('2.5.29.15', true, bits(Buffer.from([0x06]), 1)), // keyCertSign, cRLSign
    );
  } else {
    const names = request.hosts.map((host) =>
      isIP(host) === 4
        ? der(0x87, Buffer.from(host.split('.').map(Number)))
        : der(0x82, Buffer.from(host, 'ascii')),
    );
    extensions.push(
      extension('2.5.29.15', true, bits(Buffer.from([0x80]), 7)), // digitalSignature
      extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))), // server, client
      extension('2.5.29.17', false, sequence(...names)),
    );
  }
  const now = Date.now();
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ECDSA_WITH_SHA256,
    commonName(request.issuer),
    sequence(utcTime(new Date(now - 3_600_000)), utcTime(new Date(now + request.years * YEAR_MS))),
    commonName(request.subject),
    request.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const whole = sequence(toBeSigned, ECDSA_WITH_SHA256, bits(sign('sha256', toBeSigned, request.signer)));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

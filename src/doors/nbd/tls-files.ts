/** The files with which NBD is spoken over TLS: read once, and told what is wrong with them. */

import { ConfigError } from '../../base/config-error.js';
import { readUtf8, utf8Bytes } from '../../base/utf8.js';
import type { NbdTlsFiles } from '../../client/host.js';
import { type Disk, DiskError } from '../../runtime/disk.js';
import type { Runtime } from '../../runtime/runtime.js';
import { TlsError, type TlsServerSecrets } from '../../runtime/tls.js';
import type { NbdTls } from './session.js';

const FILE_BYTES_MAX = 1024 * 1024;
const IDENTITY_BYTES_MAX = 128;
/** 128 bits, and what OpenSSL takes. */
const KEY_BYTES_MIN = 16;
const KEY_BYTES_MAX = 256;

const KEY_OF = {
  certificate: 'nbdTlsCertificate',
  key: 'nbdTlsKey',
  clientCa: 'nbdTlsClientCa',
} as const;
const WANTED = {
  certificate: 'a certificate in PEM',
  key: 'a key in PEM, without a passphrase, that belongs to the certificate',
  clientCa: 'certificates of authorities in PEM',
} as const;

/** Rejects with a `ConfigError`. */
export async function nbdTlsOf(
  runtime: Pick<Runtime, 'disk' | 'tls'>,
  files: NbdTlsFiles,
): Promise<NbdTls> {
  const secrets = await readSecrets(runtime.disk, files);
  if (secrets === undefined) return { mode: 'off' };
  try {
    return { mode: 'required', secure: runtime.tls.server(secrets) };
  } catch (error) {
    if (!(error instanceof TlsError)) throw error;
    const { about, message } = error;
    const key = KEY_OF[about];
    throw wrong(key, files[key] ?? '', `is not ${WANTED[about]}: ${message}`);
  }
}

async function readSecrets(disk: Disk, files: NbdTlsFiles): Promise<TlsServerSecrets | undefined> {
  const read = (key: keyof NbdTlsFiles): Promise<string> => readText(disk, key, files[key] ?? '');
  if (files.nbdTlsPsk !== undefined) {
    return { kind: 'psk', keys: readKeys(await read('nbdTlsPsk'), files.nbdTlsPsk) };
  }
  if (files.nbdTlsCertificate === undefined) return undefined;
  return {
    kind: 'certificate',
    certificate: await read('nbdTlsCertificate'),
    key: await read('nbdTlsKey'),
    clientCa: files.nbdTlsClientCa === undefined ? undefined : await read('nbdTlsClientCa'),
  };
}

async function readText(disk: Disk, key: string, path: string): Promise<string> {
  try {
    const file = await disk.open(path, 'read');
    try {
      const bytes = new Uint8Array(Math.min(await file.size(), FILE_BYTES_MAX));
      const read = await file.read(0, bytes);
      const text = readUtf8(bytes, 0, read);
      if (text === undefined) throw wrong(key, path, 'is not a text');
      return text;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof DiskError) throw wrong(key, path, `cannot be read: ${error.message}`);
    throw error;
  }
}

/** The format of GnuTLS, as its `psktool` writes it: one `name:hexkey` to a line. */
function readKeys(text: string, path: string): ReadonlyMap<string, Uint8Array> {
  const keys = new Map<string, Uint8Array>();
  const problems: string[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.lastIndexOf(':');
    const name = line.slice(0, Math.max(0, colon));
    const problem = problemOfKey(name, line.slice(colon + 1), keys);
    if (problem === undefined) keys.set(name, fromHex(line.slice(colon + 1)));
    else problems.push(`nbdTlsPsk: line ${i + 1} of ${path} ${problem}`);
  }
  if (problems.length > 0) throw new ConfigError('host', problems);
  if (keys.size === 0) throw wrong('nbdTlsPsk', path, 'has no key; write name:hexkey lines');
  return keys;
}

/** Never with the key itself. */
function problemOfKey(
  name: string,
  hex: string,
  keys: ReadonlyMap<string, unknown>,
): string | undefined {
  const nameBytes = utf8Bytes(name);
  if (nameBytes < 1 || nameBytes > IDENTITY_BYTES_MAX) {
    return `is not name:hexkey with a name of 1 to ${IDENTITY_BYTES_MAX} bytes`;
  }
  if (keys.has(name)) return `gives ${JSON.stringify(name)} a second key; leave one`;
  const isHex = hex.length % 2 === 0 && /^[0-9A-Fa-f]*$/.test(hex);
  const isLong = hex.length >= 2 * KEY_BYTES_MIN && hex.length <= 2 * KEY_BYTES_MAX;
  if (isHex && isLong) return undefined;
  const digits = `${2 * KEY_BYTES_MIN} to ${2 * KEY_BYTES_MAX}`;
  return `has a key that is not ${digits} hexadecimal digits; make one: openssl rand -hex 32`;
}

function fromHex(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

function wrong(key: string, path: string, what: string): ConfigError {
  return new ConfigError('host', [`${key}: the file ${path} ${what}`]);
}

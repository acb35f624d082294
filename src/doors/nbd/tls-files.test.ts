// The files with which NBD is spoken over TLS, right ones and wrong ones.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Authority } from '../../../test/support/certificates.js';
import { ConfigError } from '../../base/config-error.js';
import type { NbdTlsFiles } from '../../client/host.js';
import { createRuntime } from '../../runtime/node/create-runtime.js';
import { nbdTlsOf } from './tls-files.js';

const runtime = createRuntime({ logLevel: 'error' });
let folder: string;
const path = (name: string): string => join(folder, name);
const KEY = '0123456789abcdef'.repeat(4);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-tls-'));
  const authority = new Authority('an authority');
  const { certificate, key } = authority.issue('localhost');
  writeFileSync(path('cert.pem'), certificate);
  writeFileSync(path('key.pem'), key);
  writeFileSync(path('other.pem'), authority.issue('other').key);
  writeFileSync(path('ca.pem'), authority.certificate);
  writeFileSync(path('good.psk'), `# keys\nann:${KEY}\n\nb:c:${KEY.toUpperCase()}\r\n`);
});

afterAll(() => rmSync(folder, { recursive: true }));

async function problems(files: NbdTlsFiles): Promise<readonly string[]> {
  try {
    await nbdTlsOf(runtime, files);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const pair = () => ({ nbdTlsCertificate: path('cert.pem'), nbdTlsKey: path('key.pem') });

test('without files there is no TLS, with good ones there is nothing else', async () => {
  expect(await nbdTlsOf(runtime, {})).toEqual({ mode: 'off' });
  for (const files of [
    pair(),
    { ...pair(), nbdTlsClientCa: path('ca.pem') },
    { nbdTlsPsk: path('good.psk') },
  ]) {
    expect(await nbdTlsOf(runtime, files)).toMatchObject({ mode: 'required' });
  }
});

test('a file that is not there, or something else, is named with its key', async () => {
  const wrong: [keyof NbdTlsFiles, string, string][] = [
    ['nbdTlsCertificate', 'none.pem', 'cannot be read'],
    ['nbdTlsCertificate', 'key.pem', 'is not a certificate in PEM'],
    ['nbdTlsKey', 'none.pem', 'cannot be read'],
    ['nbdTlsKey', 'cert.pem', 'is not a key in PEM'],
    ['nbdTlsKey', 'other.pem', 'that belongs to the certificate'],
    ['nbdTlsClientCa', 'key.pem', 'there is no certificate in it'],
  ];
  for (const [key, name, what] of wrong) {
    const [found = '', ...more] = await problems({ ...pair(), [key]: path(name) });
    expect(found).toContain(`${key}: the file ${path(name)} `);
    expect(found).toContain(what);
    expect(more).toEqual([]);
  }
});

test('every wrong line of keys is told, never with the key', async () => {
  const secret = 'feedfeed';
  const lines = ['ann', `:${KEY}`, `bob:${secret}`, `eve:${KEY}x`, `ann:${KEY}`, `ann:${KEY}`];
  writeFileSync(path('bad.psk'), lines.join('\n'));
  const found = await problems({ nbdTlsPsk: path('bad.psk') });
  const where = found.map((problem) => problem.replace(/.* line (\d+) of .*/s, '$1'));
  expect(where).toEqual(['1', '2', '3', '4', '6']);
  expect(found.join()).not.toContain(secret);
  writeFileSync(path('empty.psk'), '# none\n');
  expect((await problems({ nbdTlsPsk: path('empty.psk') }))[0]).toContain('has no key');
});

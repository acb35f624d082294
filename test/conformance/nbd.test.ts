// Foreign NBD clients against the door, over loopback, with a device that answers at once and one
// that answers late and in any order.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.js';
import { MiB } from '../../src/base/units.js';
import type { NbdTlsFiles } from '../../src/client/host.js';
import { NbdDoor } from '../../src/doors/nbd/door.js';
import { NbdClient } from '../../src/doors/nbd/testing/client.js';
import { MemoryBackend, MemoryExports } from '../../src/doors/testing/memory-backend.js';
import { nbdTlsOf } from '../../src/doors/nbd/tls-files.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { Authority } from '../support/certificates.js';
import { requires } from '../support/requires.js';

const runtime = createRuntime({ logLevel: 'warn' });
const DISK_BYTES = 16 * MiB;

let folder: string;
let door: NbdDoor;
let disk: MemoryBackend;
let coarse: MemoryBackend;
let fixed: MemoryBackend;
let exports: MemoryExports;
let authority: string;
const uri = (name: string): string => `nbd://${authority}/${name}`;
const path = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-nbd-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  const { timers } = runtime;
  disk = new MemoryBackend(timers, { bytes: DISK_BYTES, name: 'disk', description: 'ein Gerät' });
  coarse = new MemoryBackend(timers, { bytes: 4 * MiB, name: 'coarse', blockMin: 512 });
  fixed = new MemoryBackend(timers, { bytes: 4 * MiB, name: 'fixed', isReadOnly: true });
  fixed.fill(MiB, someData(MiB, 3));
  exports = new MemoryExports(disk, coarse, fixed);
  await open({});
});

/** A door in plain text, or with the files over TLS. */
async function open(files: NbdTlsFiles): Promise<void> {
  door = new NbdDoor({ runtime, exports, tls: await nbdTlsOf(runtime, files) });
  const listener = await door.listen('tcp://127.0.0.1:0');
  authority = listener.address.replace('tcp://', '');
}

afterEach(async () => {
  await door.stop();
  const left = [door.sessions, door.pool.taken, exports.users, door.counters.malformed];
  expect(left).toEqual([0, 0, 0, 0]);
});

/** Answers that come late and out of order. */
function beLate(): void {
  const prng = new Prng(1);
  disk.lateMs = () => prng.fraction() * 3;
}

/** Data with holes. */
function someData(length: number, seed: number): Uint8Array {
  const prng = new Prng(seed);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 64 * 1024) {
    if (prng.below(3) === 0) continue;
    const end = Math.min(length, at + prng.below(64 * 1024));
    for (let i = at; i < end; i++) bytes[i] = prng.below(256);
  }
  return bytes;
}

interface Ended {
  readonly code: number;
  readonly output: string;
}

function run(program: string, ...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    // The system's Python, to which the system's packages belong.
    const env = { ...process.env, PATH: `/usr/bin:${process.env['PATH'] ?? ''}` };
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    const child = spawn(program, args, { stdio: [...stdio], timeout: 60_000, env });
    let output = '';
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    child.stderr.on('data', (text: Buffer) => (output += text.toString()));
    child.on('close', (code) => resolve({ code: code ?? -1, output }));
  });
}

async function right(program: string, ...args: string[]): Promise<string> {
  const { code, output } = await run(program, ...args);
  expect([program, args, code, code === 0 ? '' : output]).toEqual([program, args, 0, '']);
  return output;
}

describe('our own client', () => {
  test('writes, reads and says goodbye', async () => {
    beLate();
    const client = await NbdClient.connect(runtime.network, `tcp://${authority}`);
    await client.structured();
    expect(await client.go('disk')).toMatchObject({ bytes: DISK_BYTES, description: 'ein Gerät' });
    const bytes = someData(9 * MiB + 5, 1);
    const writes = Array.from({ length: 10 }, (_, i) =>
      client.write(i * MiB, bytes.subarray(i * MiB, (i + 1) * MiB)),
    );
    for (const { error } of await Promise.all(writes)) expect(error).toBe(0);
    const { error, data } = await client.read(0, bytes.length);
    expect([error, Buffer.compare(data, bytes)]).toEqual([0, 0]);
    client.disconnect();
    expect(client.violation).toBeUndefined();
  });
});

describe.runIf(requires('nbdinfo', 'nbdcopy'))('libnbd', () => {
  test('nbdinfo shows what an export is', async () => {
    const shown = JSON.parse(await right('nbdinfo', '--json', uri('disk'))) as {
      protocol: string;
      structured: boolean;
      exports: Record<string, unknown>[];
    };
    expect([shown.protocol, shown.structured]).toEqual(['newstyle-fixed', true]);
    expect(shown.exports[0]).toMatchObject({
      'export-name': 'disk',
      description: 'ein Gerät',
      contexts: ['base:allocation'],
      'export-size': DISK_BYTES,
      is_read_only: false,
      can_cache: true,
      can_df: true,
      can_fast_zero: true,
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      block_size_minimum: 1,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MiB,
    });
  });

  test('nbdinfo lists exports, and asks for one by the default name', async () => {
    const listed = await right('nbdinfo', '--list', `nbd://${authority}`);
    for (const name of ['disk', 'coarse', 'fixed']) expect(listed).toContain(`export="${name}"`);
    expect(await right('nbdinfo', '--size', uri(''))).toBe(`${DISK_BYTES}\n`);
    expect((await run('nbdinfo', '--is', 'readonly', uri('fixed'))).code).toBe(0);
    expect((await run('nbdinfo', '--is', 'readonly', uri('disk'))).code).toBe(2);
    expect((await run('nbdinfo', uri('other'))).code).toBe(1);
  });

  test('nbdinfo maps data and holes', async () => {
    const map = JSON.parse(await right('nbdinfo', '--map', '--json', uri('fixed'))) as {
      offset: number;
      length: number;
      type: number;
    }[];
    expect(map.map(({ offset, type }) => [offset, type])).toEqual([
      [0, 3],
      [MiB, 0],
      [2 * MiB, 3],
    ]);
  });

  test.each([false, true])('nbdcopy copies to and fro (late: %s)', async (late) => {
    if (late) beLate();
    const data = someData(DISK_BYTES, 2);
    writeFileSync(path('from'), data);
    for (const options of [[], ['--connections=4', '--requests=64'], ['--synchronous']]) {
      await right('nbdcopy', ...options, '--flush', path('from'), uri('disk'));
      expect(Buffer.compare(disk.content, data)).toBe(0);
      expect(disk.isSafe(0, DISK_BYTES)).toBe(true);
      await right('nbdcopy', ...options, uri('disk'), path('to'));
      expect(Buffer.compare(readFileSync(path('to')), data)).toBe(0);
      disk.fill(0, new Uint8Array(DISK_BYTES).fill(7));
    }
  });
});

const NBDSH_SCRIPT = `
import errno
def fails(what, *numbers):
    try:
        what()
    except nbd.Error as ex:
        assert ex.errnum in numbers, (ex.errnum, ex.string)
        return
    assert False, 'no failure'

h.set_strict_mode(0)
assert h.get_structured_replies_negotiated()
assert h.get_size() == ${DISK_BYTES}
data = bytes(range(256)) * 1024
h.pwrite(data, 12345, nbd.CMD_FLAG_FUA)
assert h.pread(len(data), 12345) == data
assert h.pread(len(data), 12345, nbd.CMD_FLAG_DF) == data

chunks = []
def chunk(buf, offset, status, error):
    chunks.append((offset, len(buf), status))
h.pread_structured(1048576, 4194304, chunk)
assert chunks == [(4194304, 1048576, nbd.READ_HOLE)], chunks

extents = []
h.block_status(65536, 8388608, lambda m, o, e, err: extents.append((m, o, list(e))))
assert extents == [('base:allocation', 8388608, [65536, 3])], extents


h.zero(len(data), 12345, nbd.CMD_FLAG_NO_HOLE)
assert h.pread(len(data), 12345) == bytes(len(data))
h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO)
h.trim(1048576, 0)
h.cache(1048576, 0)
h.flush()

size = h.get_size()
fails(lambda: h.pread(4096, size - 1), errno.EINVAL)
fails(lambda: h.pwrite(bytes(4096), size - 1), errno.ENOSPC)
fails(lambda: h.zero(4096, size - 1), errno.ENOSPC)
fails(lambda: h.trim(4096, size - 1), errno.EINVAL)
fails(lambda: h.pread(1048577, 0, nbd.CMD_FLAG_DF), errno.EOVERFLOW)
fails(lambda: h.pread(4096, 0, nbd.CMD_FLAG_NO_HOLE), errno.EINVAL)
fails(lambda: h.pread(33554433, 0), errno.EINVAL)
assert h.pread(10, 0) == bytes(10)

cookies = [h.aio_pread(nbd.Buffer(65536), i * 65536) for i in range(64)]
while h.aio_in_flight() > 0:
    h.poll(-1)
for cookie in cookies:
    assert h.aio_command_completed(cookie)
h.shutdown()
`;

const SIMPLE_SCRIPT = `
h.set_request_structured_replies(False)
h.connect_uri('URI')
assert not h.get_structured_replies_negotiated()
assert not h.can_df()
data = bytes(range(256)) * 16384
h.pwrite(data, 1000)
assert h.pread(len(data), 1000) == data
h.shutdown()
`;

const OPTIONS_SCRIPT = `
h.set_opt_mode(True)
h.connect_uri('URI')
names = []
assert h.opt_list(lambda name, description: names.append((name, description))) == 3
assert names[0] == ('disk', 'ein Gerät'), names
contexts = []
h.set_export_name('disk')
h.opt_list_meta_context(lambda name: contexts.append(name))
assert contexts == ['base:allocation'], contexts
h.set_export_name('nowhere')
try:
    h.opt_info()
    assert False
except nbd.Error:
    pass
h.set_export_name('coarse')
h.opt_info()
assert h.get_block_size(nbd.SIZE_MINIMUM) == 512
h.opt_go()
h.set_strict_mode(0)
try:
    h.pread(100, 0)
    assert False
except nbd.Error as ex:
    assert ex.errno == 'EINVAL', ex.errno
assert h.pread(512, 0) == bytes(512)
h.shutdown()
h2 = nbd.NBD()
h2.set_opt_mode(True)
h2.connect_uri('URI')
h2.opt_abort()
`;

const SECURED_SCRIPT = `
h.set_uri_allow_local_file(True)
h.add_meta_context('base:allocation')
h.connect_uri('URI')
assert h.get_tls_negotiated()
`;

describe.runIf(requires('nbdsh'))('nbdsh', () => {
  test.each([false, true])('every command, flag and error (late: %s)', async (late) => {
    if (late) beLate();
    const connect = ['--base-allocation', '-u', uri('disk')];
    await right('nbdsh', ...connect, '-c', NBDSH_SCRIPT);
  });

  test('simple replies', async () => {
    beLate();
    await right('nbdsh', '-c', SIMPLE_SCRIPT.replaceAll('URI', uri('disk')));
  });

  test('options, one by one', async () => {
    await right('nbdsh', '-c', OPTIONS_SCRIPT.replaceAll('URI', uri('disk')));
  });
});

describe.runIf(requires('qemu-img', 'qemu-io'))('qemu', () => {
  test('qemu-img shows, converts, compares and maps', async () => {
    beLate();
    const data = someData(DISK_BYTES, 4);
    writeFileSync(path('image'), data);
    const raw = ['-f', 'raw', '-O', 'raw'];
    expect(await right('qemu-img', 'info', uri('disk'))).toContain('16 MiB');
    await right('qemu-img', 'convert', '-n', '-W', '-m', '16', ...raw, path('image'), uri('disk'));
    expect(Buffer.compare(disk.content, data)).toBe(0);
    const formats = ['-f', 'raw', '-F', 'raw'];
    await right('qemu-img', 'compare', ...formats, path('image'), uri('disk'));
    await right('qemu-img', 'convert', ...raw, uri('disk'), path('back'));
    expect(Buffer.compare(readFileSync(path('back')), data)).toBe(0);
    const map = await right('qemu-img', 'map', '--output=json', '-f', 'raw', uri('fixed'));
    expect(JSON.parse(map)).toMatchObject([
      { start: 0, zero: true, data: false },
      { start: MiB, zero: false, data: true },
      { start: 2 * MiB, zero: true, data: false },
    ]);
  });

  test.each(['disk', 'coarse'])(
    'qemu-io writes, zeroes, discards and checks (%s)',
    async (name) => {
      beLate();
      const commands = [
        'write -P 0xaa 0 1M',
        'write -f -P 0xbb 512 512',
        'read -P 0xbb 512 512',
        'read -P 0xaa 1024 64k',
        'write -z 64k 64k',
        'write -z -u 256k 64k',
        'read -P 0 64k 64k',
        'aio_write -P 0xcc 2M 1M',
        'aio_write -P 0xdd 3M 1M',
        'aio_flush',
        'read -P 0xcc 2M 1M',
        'read -P 0xdd 3M 1M',
        'discard 2M 1M',
        'flush',
        'read -P 0xaa 128k 128k',
      ];
      const args = commands.flatMap((command) => ['-c', command]);
      const output = await right('qemu-io', '-f', 'raw', ...args, uri(name));
      expect(output).not.toContain('failed');
      const [, written] = [0xaa, 0xbb];
      expect((name === 'disk' ? disk : coarse).content[600]).toBe(written);
    },
  );

  test('qemu-io is refused where an export is read-only', async () => {
    const { code, output } = await run('qemu-io', '-f', 'raw', '-c', 'write 0 512', uri('fixed'));
    expect([code, output.includes('Permission denied')]).toEqual([1, true]);
    await right('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 0 0 1M', uri('fixed'));
  });
});

describe.runIf(requires('nbd-client'))('nbd-client', () => {
  test('lists exports', async () => {
    const [host, port] = authority.split(':') as [string, string];
    const listed = await right('nbd-client', '-l', host, port);
    for (const name of ['disk', 'coarse', 'fixed']) expect(listed).toContain(name);
  });
});

// With the names that libnbd and qemu look for in a folder.
function makeSecrets(): void {
  const authorities = { right: new Authority('right'), wrong: new Authority('wrong') };
  const server = authorities.right.issue('localhost');
  writeFileSync(path('server.pem'), server.certificate);
  writeFileSync(path('server.key'), server.key);
  writeFileSync(path('authority.pem'), authorities.right.certificate);
  for (const [name, authority] of Object.entries(authorities)) {
    mkdirSync(path(name), { recursive: true });
    const client = authority.issue('a client');
    writeFileSync(path(`${name}/ca-cert.pem`), authorities.right.certificate);
    writeFileSync(path(`${name}/client-cert.pem`), client.certificate);
    writeFileSync(path(`${name}/client-key.pem`), client.key);
  }
  mkdirSync(path('nobody'), { recursive: true });
  writeFileSync(path('nobody/ca-cert.pem'), authorities.right.certificate);
  const [key, other] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
  writeFileSync(path('server.psk'), `# names and keys\nann:${key}\nbob:${other}\n`);
  writeFileSync(path('right/keys.psk'), `ann:${key}\n`);
  writeFileSync(path('wrong/keys.psk'), `ann:${other}\n`);
}

const byCertificate = (): NbdTlsFiles => ({
  nbdTlsCertificate: path('server.pem'),
  nbdTlsKey: path('server.key'),
});
const byBoth = (): NbdTlsFiles => ({ ...byCertificate(), nbdTlsClientCa: path('authority.pem') });
const byKey = (): NbdTlsFiles => ({ nbdTlsPsk: path('server.psk') });

/** The address for libnbd, of who has what is in the folder. */
const withCertificate = (name: string, who: string): string =>
  `nbds://${authority}/${name}?tls-certificates=${path(who)}`;
const withKey = (name: string, who: string): string =>
  `nbds://ann@${authority}/${name}?tls-psk-file=${path(`${who}/keys.psk`)}`;

describe('over TLS', () => {
  beforeAll(makeSecrets);

  async function reopen(files: NbdTlsFiles): Promise<void> {
    await door.stop();
    await open(files);
  }

  const KINDS = [
    ['a certificate of the server', byCertificate, withCertificate, 'nobody'],
    ['certificates of both', byBoth, withCertificate, 'right'],
    ['a key', byKey, withKey, 'right'],
  ] as const;

  describe.runIf(requires('nbdinfo', 'nbdcopy'))('libnbd', () => {
    test.each(KINDS)('with %s', async (_what, files, address, who) => {
      await reopen(files());
      beLate();
      expect(await right('nbdinfo', '--size', address('disk', who))).toBe(`${DISK_BYTES}\n`);
      const listed = await right('nbdinfo', '--list', address('', who));
      expect(listed).toContain('export="coarse"');
      expect(listed).toMatch(/protocol: .* with TLS/);
      const data = someData(DISK_BYTES, 5);
      writeFileSync(path('from'), data);
      const many = ['--connections=4', '--requests=64'];
      await right('nbdcopy', ...many, '--flush', path('from'), address('disk', who));
      expect(Buffer.compare(disk.content, data)).toBe(0);
      await right('nbdcopy', ...many, address('disk', who), path('to'));
      expect(Buffer.compare(readFileSync(path('to')), data)).toBe(0);
    });

    test('who is not let in', async () => {
      const lookAt = async (address: string): Promise<number> =>
        (await run('nbdinfo', '--size', address)).code;
      await reopen(byBoth());
      expect(await lookAt(withCertificate('disk', 'wrong'))).toBe(1);
      expect(await lookAt(withCertificate('disk', 'nobody'))).toBe(1);
      expect(await lookAt(uri('disk'))).toBe(1);
      expect(await lookAt(withKey('disk', 'right'))).toBe(1);
      await reopen(byKey());
      expect(await lookAt(withKey('disk', 'wrong'))).toBe(1);
      expect(await lookAt(withKey('disk', 'right').replace('ann@', 'eve@'))).toBe(1);
      expect(await lookAt(uri('disk'))).toBe(1);
      expect([exports.users, exports.lists]).toEqual([0, 0]);
    });
  });

  describe.runIf(requires('nbdsh'))('nbdsh', () => {
    test.each(KINDS)('every command, with %s', async (_what, files, address, who) => {
      await reopen(files());
      beLate();
      const connect = SECURED_SCRIPT.replaceAll('URI', address('disk', who));
      await right('nbdsh', '-c', connect, '-c', NBDSH_SCRIPT);
    });
  });

  describe.runIf(requires('qemu-img', 'qemu-io'))('qemu', () => {
    test.each([
      ['certificates', byBoth, 'tls-creds-x509'],
      ['a key', byKey, 'tls-creds-psk,username=ann'],
    ] as const)('with %s', async (_what, files, kind) => {
      await reopen(files());
      beLate();
      const [host, port] = authority.split(':') as [string, string];
      const device = `driver=raw,file.driver=nbd,file.host=${host},file.port=${port}`;
      const image = ['--image-opts', `${device},file.export=disk,file.tls-creds=tls`];
      const object = (who: string) => `${kind},id=tls,endpoint=client,dir=${path(who)}`;
      const commands = ['write -P 0xaa 0 4M', 'write -f -P 0xbb 512 512', 'read -P 0xbb 512 512'];
      commands.push('write -z 64k 64k', 'read -P 0 64k 64k', 'discard 2M 1M', 'flush');
      const args = commands.flatMap((command) => ['-c', command]);
      const output = await right('qemu-io', '--object', object('right'), ...args, ...image);
      expect(output).not.toContain('failed');
      expect([disk.content[600], disk.content[1024]]).toEqual([0xbb, 0xaa]);
      const shown = await right('qemu-img', 'info', '--object', object('right'), ...image);
      expect(shown).toContain('16 MiB');
      const refused = await run('qemu-img', 'info', '--object', object('wrong'), ...image);
      expect(refused.code).toBe(1);
    });
  });
});

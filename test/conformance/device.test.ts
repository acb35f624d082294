// Foreign programs against a device of a rack of real processes: disks are verified while nodes are
// killed, images converted, and file systems made and checked; in plain text and over TLS.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.js';
import { runCli } from '../support/cli.js';
import { type Ended, goodForeign, runForeign } from '../support/foreign.js';
import { startRack, supervisorOf, type TestRack, until } from '../support/rack.js';
import { requires, requiresAccess } from '../support/requires.js';

const VERIFY_SECONDS = 15;
const hasPrograms = requires('fio', 'nbdcopy', 'nbdinfo', 'qemu-img', 'qemu-io');
const hasFileSystem =
  requires('nbdfuse', 'fusermount3', 'mke2fs', 'e2fsck', 'debugfs') && requiresAccess('/dev/fuse');

let folder: string;
let rack: TestRack;
let uri: string;
const path = (name: string): string => join(folder, name);

function run(program: string, ...args: string[]): Promise<Ended> {
  return runForeign(folder, program, ...args);
}

function good(program: string, ...args: string[]): Promise<string> {
  return goodForeign(folder, program, ...args);
}

/**
 * At the border of two slabs, and in the last slab, to which nobody has written: sectors that cover
 * no whole blocks, by one connection, and compared by another one.
 */
const NBDSH_SCRIPT = `
import random
MIB, SLAB = 1 << 20, 255 * (256 << 10)
other = nbd.NBD()
other.connect_uri(h.get_uri())
assert h.get_size() == 128 * MIB

def told(flags, at, length):
    while length > 0:
        found = []
        h.block_status(length, at, lambda m, o, entries, err: found.extend(entries))
        assert all(seen == flags for seen in found[1::2]), found
        at, length = at + sum(found[::2]), length - sum(found[::2])

begin = SLAB - 300 * 1024 - 512
random.seed(20)
model = bytearray(random.randbytes(MIB))
h.pwrite(model, begin)

def same(what):
    assert other.pread(len(model), begin) == model, what

same('written')
h.flush()
for i in range(64):
    at, length = random.randrange(1024) * 512, random.randrange(1, 512) * 512
    data = random.randbytes(length)
    h.pwrite(data, begin + at, nbd.CMD_FLAG_FUA)
    model[at:at + length] = data
same('written in parts')
at, length = 1536, 400 * 1024
h.zero(length, begin + at)
model[at:at + length] = bytes(length)
same('zeroed')
at, length = 600 * 1024 + 512, 200 * 1024
h.trim(length, begin + at)
h.flush()
# Whole blocks are zeros; what is less at both ends stays.
first, end = -(-(begin + at) // 4096) * 4096 - begin, (begin + at + length) // 4096 * 4096 - begin
model[first:end] = bytes(end - first)
same('trimmed')
h.zero(8192, begin + 512, nbd.CMD_FLAG_FAST_ZERO)
model[512:512 + 8192] = bytes(8192)
same('zeroed fast')
told(0, begin, len(model))

last = 2 * SLAB
# A hole. That it is zeros is not told: another host may have written there since.
told(1, last, 128 * MIB - last)
assert h.pread(512, last) == bytes(512)
h.pwrite(b'end.' * 128, 128 * MIB - 512)
told(0, last, 128 * MIB - last)
assert other.pread(1024, 128 * MIB - 1024) == bytes(512) + b'end.' * 128
for one in (h, other):
    one.shutdown()
`;

/** Ends with 0, and its output. */
async function memrack(...args: string[]): Promise<string> {
  return (await tried(() => runCli([...args, '--rack', rack.url]))).stdout.trim();
}

/** A device that was just used is let go of by its host a little later. */
function tried<T extends { readonly code: number | null }>(ask: () => Promise<T>): Promise<T> {
  return until(20_000, async () => {
    const ended = await ask();
    return ended.code === 0 ? ended : undefined;
  });
}

async function start(...extra: string[]): Promise<void> {
  rack = await startRack({ nodes: 3, memory: '160MiB', extra: ['--nbd-port', '0', ...extra] });
  await memrack('device', 'create', 'disk', '--size', '128MiB', '--replicas', '2');
  uri = await memrack('device', 'uri', 'disk');
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-device-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe.runIf(hasPrograms)('a device', () => {
  beforeAll(() => start());
  afterAll(() => rack?.stop());

  test('fio finds every byte while nodes and their memory are killed', {
    timeout: 150_000,
  }, async () => {
    const verifying = run(
      'fio',
      ...['--name=disk', '--ioengine=nbd', `--uri=${uri}`, '--rw=randrw', '--bs=4k'],
      ...['--size=64M', '--iodepth=16', '--randrepeat=0', '--verify=crc32c'],
      ...['--verify_backlog=1024', '--verify_fatal=1', '--verify_state_save=0'],
      ...['--time_based', `--runtime=${VERIFY_SECONDS}`],
    );
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    // Its memory is gone with it; an empty node takes its place.
    process.kill(await supervisorOf(rack, 'node-2'), 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    const pid = (await rack.nodes()).find(({ id }) => id === 'node-1')?.pid as number;
    process.kill(pid, 'SIGKILL');
    const { code, output } = await verifying;
    expect([code, output]).toEqual([0, expect.stringMatching(/err= 0/)]);
    expect(output).not.toMatch(/verify:|bad magic/);
  });

  test.runIf(requires('nbdsh'))('nbdsh finds what it wrote, zeroed and trimmed', async () => {
    await good('nbdsh', '--base-allocation', '-u', uri, '-c', NBDSH_SCRIPT);
  });

  test('qemu-img converts, compares, checks and measures', async () => {
    const image = path('image.raw');
    writeFileSync(image, Buffer.concat([randomBytes(5 * MiB), Buffer.alloc(3 * MiB)]));
    await good('nbdcopy', image, uri);
    await good('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, path('whole.qcow2'));
    await good('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', path('whole.qcow2'), uri);
    await good('qemu-img', 'convert', '-n', '-f', 'qcow2', '-O', 'raw', path('whole.qcow2'), uri);
    await good('nbdcopy', uri, path('back.raw'));
    const back = readFileSync(path('back.raw')).subarray(0, 8 * MiB);
    expect(back.equals(readFileSync(image))).toBe(true);
    await good('qemu-img', 'create', '-q', '-f', 'qcow2', uri, '100M');
    await good('qemu-img', 'bench', '-f', 'qcow2', '-w', '-c', '500', '-d', '16', uri);
    await good('qemu-io', '-f', 'qcow2', '-c', 'write -P 9 1M 1M', '-c', 'flush', uri);
    await good('qemu-io', '-f', 'qcow2', '-c', 'read -P 9 1M 1M', uri);
    expect(await good('qemu-img', 'check', '-f', 'qcow2', uri)).toContain('No errors');
  });

  test.runIf(hasFileSystem)('a file system is made, filled and checked', async () => {
    const sums = new Map<string, string>();
    for (let i = 0; i < 30; i++) {
      const name = `d${i % 3}/f${i}`;
      mkdirSync(path(`tree/d${i % 3}`), { recursive: true });
      const bytes = randomBytes(i * 20_011 + 17);
      writeFileSync(path(`tree/${name}`), bytes);
      sums.set(name, createHash('sha256').update(bytes).digest('hex'));
    }
    mkdirSync(path('mount'));
    mkdirSync(path('out'));
    const served = spawn('nbdfuse', [path('mount'), uri], { stdio: 'ignore' });
    const ended = new Promise((resolve) => served.once('exit', resolve));
    const disk = path('mount/nbd');
    try {
      await tried(() => run('test', '-w', disk));
      await good('mke2fs', '-q', '-F', '-t', 'ext4', '-d', path('tree'), disk);
      await good('e2fsck', '-f', '-n', disk);
      await good('debugfs', '-R', `rdump / ${path('out')}`, disk);
    } finally {
      // It ends by itself when it is unmounted.
      await run('fusermount3', '-u', path('mount'));
      await ended;
    }
    for (const [name, sum] of sums) {
      const found = createHash('sha256')
        .update(readFileSync(path(`out/${name}`)))
        .digest('hex');
      expect([name, found]).toEqual([name, sum]);
    }
  });
});

describe.runIf(hasPrograms)('a device over TLS', () => {
  beforeAll(async () => {
    const key = randomBytes(32).toString('hex');
    writeFileSync(path('keys.psk'), `ann:${key}\n`, { mode: 0o600 });
    await start('--nbd-tls-psk', path('keys.psk'));
  });
  afterAll(() => rack?.stop());

  test('nbdcopy writes and reads it, and nobody does in plain text', async () => {
    expect(uri).toMatch(/^nbds:/);
    const secured = uri.replace('://', '://ann@') + `?tls-psk-file=${path('keys.psk')}`;
    const image = path('secret.raw');
    writeFileSync(image, randomBytes(6 * MiB));
    await good('nbdcopy', image, secured);
    expect(await good('nbdinfo', secured)).toContain('with TLS');
    await good('nbdcopy', secured, path('opened.raw'));
    const opened = readFileSync(path('opened.raw')).subarray(0, 6 * MiB);
    expect(opened.equals(readFileSync(image))).toBe(true);
    const { code, output } = await run('nbdinfo', uri.replace('nbds:', 'nbd:'));
    expect([code, output]).toEqual([1, expect.stringContaining('TLS')]);
  });
});

// Devices as files of a folder: programs read and write them in every way that there is, over the
// mount and over a loop device on it, while nodes and the host are killed.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { CLI, ROOT, runCli } from '../support/cli.js';
import { goodForeign, runForeign } from '../support/foreign.js';
import { startRack, supervisorOf, type TestRack, until } from '../support/rack.js';
import { requires, requiresAccess } from '../support/requires.js';

const EXERCISER = join(ROOT, 'test/support/file-exerciser.py');
const VERIFY_SECONDS = 8;
const canMount = process.getuid?.() === 0 && requiresAccess('/dev/fuse');
const hasPrograms = requires('python3', 'fio', 'losetup', 'mke2fs', 'e2fsck') && canMount;
const hasLoop = hasPrograms && requiresAccess('/dev/loop-control');
if (!canMount) process.stderr.write('skipping a test: mounting takes root\n');

let folder: string;
let rack: TestRack;
let host: ChildProcess | undefined;
const path = (name: string): string => join(folder, name);
const file = (name: string): string => join(folder, 'files', name);
const good = (program: string, ...args: string[]): Promise<string> => {
  return goodForeign(folder, program, ...args);
};

async function memrack(...args: string[]): Promise<void> {
  const { code, stderr } = await runCli([...args, '--rack', rack.url]);
  expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
}

async function startHost(): Promise<void> {
  const join_ = rack.url.replace('memrack://', '');
  const words = ['host', '--join', join_, '--nbd-port', '0', '--files', path('files')];
  const child = spawn(process.execPath, [CLI, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  host = child;
  await until(30_000, () => (output.includes('as files in') ? true : undefined));
}

function endHost(signal: NodeJS.Signals): Promise<void> {
  const child = host as ChildProcess;
  host = undefined;
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill(signal);
  });
}

const sumOf = (name: string): string => {
  return createHash('sha256')
    .update(readFileSync(file(name)))
    .digest('hex');
};

/** A loop device with direct I/O over a file, until the test is over. */
async function loopOver(name: string): Promise<string> {
  const loop = (await good('losetup', '--find', '--show', '--direct-io=on', file(name))).trim();
  onTestFinished(async () => void (await runForeign(folder, 'losetup', '--detach', loop)));
  const dio = readFileSync(`/sys/block/${loop.replace('/dev/', '')}/loop/dio`, 'utf8');
  expect(dio.trim()).toBe('1');
  return loop;
}

const MAPPED = 'written through a map';
/** Maps the file, writes, says so, and keeps it open. */
const MAPPER = `
import mmap, sys, time
with open(sys.argv[1], "r+b") as file:
    view = mmap.mmap(file.fileno(), 0)
    view[:${MAPPED.length}] = b"${MAPPED}"
    print("done", flush=True)
    time.sleep(60)
`;

const VERIFY = [
  ...['--name=file', '--rw=randrw', '--bs=4k', '--iodepth=8', '--randrepeat=0'],
  ...['--verify=crc32c', '--verify_backlog=512', '--verify_fatal=1', '--verify_state_save=0'],
  ...['--time_based', `--runtime=${VERIFY_SECONDS}`, '--allow_file_create=0'],
];

const DIRECT = ['--ioengine=libaio', '--direct=1'];

const VERIFY_ONLY = [
  ...['--name=again', '--rw=read', '--ioengine=psync', '--size=24M', '--bs=16k'],
  ...['--verify=crc32c', '--verify_only=1', '--verify_fatal=1', '--allow_file_create=0'],
];

async function verified(path_: string, ...more: string[]): Promise<void> {
  const output = await good('fio', ...VERIFY, `--filename=${path_}`, ...more);
  expect(output).toMatch(/err= 0/);
  expect(output).not.toMatch(/verify:|bad magic/);
}

describe.runIf(hasPrograms)('devices as files', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'memrack-files-'));
    rack = await startRack({ nodes: 3, memory: '160MiB', extra: ['--nbd-port', '0'] });
    await memrack('device', 'create', 'disk', '--size', '96MiB', '--replicas', '2');
    await memrack('device', 'create', 'small', '--size', '4MiB', '--replicas', '2');
    await startHost();
  }, 60_000);

  afterAll(async () => {
    if (host !== undefined) await endHost('SIGTERM');
    await rack?.stop();
    await runForeign(folder, 'umount', '--lazy', path('files'));
    rmSync(folder, { recursive: true, force: true });
  });

  test('several processes see one file, however they look at it', async () => {
    expect(readdirSync(path('files')).sort()).toEqual(['disk', 'small']);
    const seed = Number(process.env['MEMRACK_SEED'] ?? Date.now() % 1_000_000);
    const told = await good('/usr/bin/python3', EXERCISER, file('small'), `${seed}`, '3', '2000');
    // Each of them did each of it.
    for (const way of ['read_map', 'write_map', 'read_direct', 'write_direct', 'truncate']) {
      expect(told.match(new RegExp(`${way} \\d+`, 'g'))).toHaveLength(3);
    }
  }, 120_000);

  test('fio finds every byte while nodes are killed, buffered, mapped and direct', async () => {
    const all = Promise.all([
      verified(file('disk'), '--ioengine=psync', '--offset=24M', '--size=24M'),
      // Where it begins is 0: with any other `--offset` fio maps the beginning all the same.
      verified(file('disk'), '--ioengine=mmap', '--offset=0', '--size=24M'),
      verified(file('disk'), ...DIRECT, '--offset=48M', '--size=24M', '--bs=12k'),
    ]);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    process.kill(await supervisorOf(rack, 'node-2'), 'SIGKILL');
    await all;
    // What the kernel kept of them it lets go of when they are opened anew.
    await verified(file('disk'), '--ioengine=psync', '--size=24M', '--rw=write', '--bs=16k');
    await good('fio', ...VERIFY_ONLY, `--filename=${file('disk')}`);
  }, 120_000);

  test.runIf(hasLoop)(
    'a loop device is verified, and a file system on it',
    async () => {
      const loop = await loopOver('disk');
      await verified(loop, ...DIRECT, '--size=64M', '--bs=16k');
      await good('mke2fs', '-q', '-F', '-t', 'ext4', loop);
      mkdirSync(path('mount'));
      await good('mount', loop, path('mount'));
      const unmount = (): Promise<unknown> => runForeign(folder, 'umount', path('mount'));
      onTestFinished(async () => void (await unmount()));
      const contents = new Map<string, Buffer>();
      for (let i = 0; i < 40; i++) contents.set(`f${i}`, randomBytes(i * 20_011 + 17));
      for (const [name, bytes] of contents) writeFileSync(path(`mount/${name}`), bytes);
      await good('umount', path('mount'));
      await good('e2fsck', '-f', '-n', loop);
      await good('mount', loop, path('mount'));
      for (const [name, bytes] of contents) {
        expect([name, readFileSync(path(`mount/${name}`)).equals(bytes)]).toEqual([name, true]);
      }
    },
    120_000,
  );

  test('one that is killed leaves a folder that the next one takes, with every byte', async () => {
    writeFileSync(path('data'), randomBytes(4 << 20));
    await good('dd', `if=${path('data')}`, `of=${file('small')}`, 'bs=1M', 'conv=notrunc,fsync');
    const before = createHash('sha256')
      .update(readFileSync(path('data')))
      .digest('hex');
    expect(sumOf('small')).toBe(before);
    await endHost('SIGKILL');
    expect(() => readdirSync(path('files'))).toThrow(/ENOTCONN/);
    await startHost();
    expect(sumOf('small')).toBe(before);
    // What a program has mapped and written reaches the nodes, though it was not synced.
    const mapper = spawn('/usr/bin/python3', ['-c', MAPPER, file('small')], { stdio: 'pipe' });
    onTestFinished(() => void mapper.kill('SIGKILL'));
    await new Promise((resolve) => mapper.stdout.once('data', resolve));
    await endHost('SIGTERM');
    mapper.kill('SIGKILL');
    expect(readdirSync(path('files'))).toEqual([]);
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(path('files'));
    await startHost();
    const after = readFileSync(file('small'));
    expect(after.subarray(0, MAPPED.length).toString()).toBe(MAPPED);
    expect(after.subarray(MAPPED.length)).toEqual(
      readFileSync(path('data')).subarray(MAPPED.length),
    );
  }, 90_000);
});

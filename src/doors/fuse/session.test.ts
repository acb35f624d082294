import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { Status } from '../../base/status.js';
import type { Timers } from '../../runtime/clock.js';
import { HOLE_BLOCK_BYTES, MemoryBackend } from '../testing/memory-backend.js';
import {
  ATTR_OUT_ATTR,
  Attr,
  Dirent,
  EntryOut,
  Errno,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  FallocateIn,
  FATTR_MODE,
  FATTR_SIZE,
  FOPEN_DIRECT_IO,
  FOPEN_PARALLEL_DIRECT_WRITES,
  InitFlag2,
  InitOut,
  O_DSYNC,
  Opcode,
  OPEN_OUT_FLAGS,
  SetattrIn,
  STATX_OUT_STATX,
  Statx,
} from './abi.js';
import { putNumber } from './messages.js';
import { FuseSession, type FuseSessionParts } from './session.js';
import { MemoryFiles } from './testing/memory-files.js';
import { FakeKernel } from './testing/fake-kernel.js';
import { readBody, THREAD } from './testing/file-client.js';

const BYTES = 4 * 65_536;
const ROOT = 1;
const FILE = 2;
const WALL_MS = 1_700_000_000_000;

const timers: Timers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return { cancel: () => clearTimeout(timer) };
  },
  soon: (run) => void setImmediate(run),
};

function rig(slots = 8, more: Partial<FuseSessionParts> = {}) {
  const device = new MemoryBackend(timers, { name: 'disk', bytes: BYTES, blockMin: 512 });
  const other = new MemoryBackend(timers, { name: 'other', bytes: 512, blockMin: 512 });
  const kernel = new FakeKernel(slots);
  const source = new MemoryFiles([device, other]);
  const session = new FuseSession({
    ...{ kernel, timers, source, clock: { wall: () => WALL_MS, now: () => performance.now() } },
    owner: { uid: 1000, gid: 100 },
    dataBytesMax: kernel.dataBytesMax,
    ...more,
  });
  kernel.received = (slot, bytes) => session.received(slot, bytes);
  return { device, kernel, session, source };
}

const view = (bytes: Uint8Array): DataView => {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
};
const name = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`);
const numberAt = (bytes: Uint8Array, at: number): number => {
  return Number(view(bytes).getBigUint64(at, true));
};

function body(bytes: number, put: (view: DataView) => void): Uint8Array {
  const whole = new Uint8Array(bytes);
  put(new DataView(whole.buffer));
  return whole;
}

/** As a program that has opened the file. */
async function opened(slots?: number) {
  const parts = rig(slots);
  await parts.kernel.init();
  await parts.kernel.ask(Opcode.LOOKUP, ROOT, name('disk'));
  expect((await parts.kernel.ask(Opcode.OPEN, FILE, new Uint8Array(8))).errno).toBe(0);
  return parts;
}

test('begins with what kernel and server both know', async () => {
  const { kernel, session } = rig();
  expect((await kernel.ask(Opcode.GETATTR, ROOT)).errno).toBe(Errno.EIO);
  const { errno, body } = await kernel.init();
  expect([errno, session.agreed]).toEqual([0, { mayResend: true }]);
  expect(view(body).getUint32(InitOut.FLAGS2, true)).toBe(InitFlag2.HAS_RESEND);
  expect(view(body).getUint32(InitOut.MAX_WRITE, true)).toBe(kernel.dataBytesMax);
});

test('an older kernel is refused, one of the next version asks again in ours', async () => {
  const { kernel, session } = rig();
  expect((await kernel.init(true, 7, 30)).errno).toBe(Errno.EPROTO);
  const next = await kernel.init(false, 8, 0);
  expect([next.errno, view(next.body).getUint32(0, true), session.agreed]).toEqual([
    0,
    7,
    undefined,
  ]);
  expect((await kernel.init(true, 7, 31)).errno).toBe(0);
  expect(session.agreed).toEqual({ mayResend: false });
});

test('one that serves a mount which has begun need not be told again', async () => {
  const { kernel } = rig(8, { agreed: { mayResend: true } });
  expect((await kernel.ask(Opcode.GETATTR, ROOT)).errno).toBe(0);
});

test('the kernel keeps pages of files, but none of swap', async () => {
  for (const isUncached of [false, true]) {
    const { kernel } = rig(8, { isUncached });
    await kernel.init();
    await kernel.ask(Opcode.LOOKUP, ROOT, name('disk'));
    const { body } = await kernel.ask(Opcode.OPEN, FILE, new Uint8Array(8));
    const flags = isUncached ? FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES : 0;
    expect(view(body).getUint32(OPEN_OUT_FLAGS, true)).toBe(flags);
  }
});

test('a device is held for as long as its file is open', async () => {
  const { kernel, source, session } = await opened();
  expect((await kernel.ask(Opcode.OPEN, FILE, new Uint8Array(8))).errno).toBe(0);
  expect(source.opened.get('disk')).toBe(1);
  await kernel.ask(Opcode.RELEASE, FILE);
  expect((await kernel.read(FILE, 0, 512)).errno).toBe(0);
  await kernel.ask(Opcode.RELEASE, FILE);
  expect(source.opened.get('disk')).toBe(0);
  expect((await kernel.read(FILE, 0, 512)).errno).toBe(Errno.EIO);
  source.refusal = Status.Timeout;
  expect((await kernel.ask(Opcode.OPEN, FILE, new Uint8Array(8))).errno).toBe(Errno.EBUSY);
  source.refusal = Status.Unavailable;
  expect((await kernel.ask(Opcode.OPEN, FILE, new Uint8Array(8))).errno).toBe(Errno.EIO);
  source.refusal = undefined;
  const opening = kernel.ask(Opcode.OPEN, FILE, new Uint8Array(8));
  session.ended();
  void opening;
  await new Promise((resolve) => setImmediate(resolve));
  expect(source.opened.get('disk')).toBe(0);
});

test('when others may have written nothing of that opening is read or written', async () => {
  const { kernel, device } = await opened();
  expect(device.watchers.size).toBe(1);
  for (const tell of device.watchers) tell();
  // The kernel lets go of its pages.
  const [notice = new Uint8Array(0)] = kernel.notices;
  expect([view(notice).getInt32(4, true), numberAt(notice, 16)]).toEqual([2, FILE]);
  expect((await kernel.read(FILE, 0, 512)).errno).toBe(Errno.ESTALE);
  expect((await kernel.write(FILE, 0, new Uint8Array(512))).errno).toBe(Errno.ESTALE);
  expect((await kernel.ask(Opcode.FSYNC, FILE)).errno).toBe(Errno.ESTALE);
  expect((await kernel.ask(Opcode.OPEN, FILE, new Uint8Array(8))).errno).toBe(Errno.ESTALE);
  await kernel.ask(Opcode.RELEASE, FILE);
  expect(device.watchers.size).toBe(0);
  expect((await kernel.ask(Opcode.OPEN, FILE, new Uint8Array(8))).errno).toBe(0);
  expect((await kernel.read(FILE, 0, 512)).errno).toBe(0);
});

test('a device that does not answer leaves slots to others', async () => {
  const { kernel, device } = await opened(8);
  device.isNow = () => false;
  device.lateMs = () => 60;
  const late = Array.from({ length: 50 }, (_, i) => kernel.read(FILE, i * 512, 512));
  expect(kernel.used).toBe(2);
  expect((await kernel.ask(Opcode.GETATTR, ROOT)).errno).toBe(0);
  // Who is killed gets its answer though its read waits for its turn.
  const waiting = kernel.begin(Opcode.READ, FILE, readBody(0, 4096));
  const which = body(8, (view) => putNumber(view, 0, waiting.unique));
  kernel.begin(Opcode.INTERRUPT, 0, which);
  await new Promise((resolve) => setImmediate(resolve));
  kernel.killed = THREAD;
  const told = new Promise<Uint8Array>((resolve) => {
    kernel.tell = (bytes) => {
      resolve(bytes);
      return Promise.resolve(true);
    };
  });
  const refusal = await told;
  expect([view(refusal).getInt32(4, true), numberAt(refusal, 8)]).toEqual([
    -Errno.EINTR,
    waiting.unique,
  ]);
  device.lateMs = () => 0;
  expect((await Promise.all(late)).every(({ errno }) => errno === 0)).toBe(true);
  expect(kernel.used).toBe(0);
});

test('writes that wait for others of their file arrive as they were asked for', async () => {
  const { kernel, device } = await opened();
  device.lateMs = () => 1;
  device.isNow = () => false;
  const answers = Array.from({ length: 64 }, (_, i) => {
    return kernel.write(FILE, i * 512, new Uint8Array(512).fill(i + 1));
  });
  for (const { errno } of await Promise.all(answers)) expect(errno).toBe(0);
  for (let i = 0; i < 64; i++) expect(device.content[i * 512 + 511]).toBe(i + 1);
  expect(kernel.strays).toBe(0);
});

test('one who is killed by a later signal is found', async () => {
  const { kernel, device } = await opened();
  device.isNow = () => false;
  device.lateMs = () => 2_000;
  const reading = kernel.begin(Opcode.READ, FILE, readBody(0, 4096));
  kernel.begin(
    Opcode.INTERRUPT,
    0,
    body(8, (view) => putNumber(view, 0, reading.unique)),
  );
  await new Promise((resolve) => setImmediate(resolve));
  kernel.killed = THREAD;
  const began = performance.now();
  expect((await reading.answer).errno).toBe(Errno.EINTR);
  expect(performance.now() - began).toBeLessThan(1_900);
});

test('what was written here last is told with the file', async () => {
  const { kernel } = await opened();
  const attr = async () => (await kernel.ask(Opcode.GETATTR, FILE)).body;
  expect(numberAt(await attr(), ATTR_OUT_ATTR + Attr.MTIME)).toBe(WALL_MS / 1000);
  const { body: statx } = await kernel.ask(Opcode.STATX, FILE);
  expect(statx).toHaveLength(STATX_OUT_STATX + Statx.BYTES);
  expect(numberAt(statx, STATX_OUT_STATX + Statx.SIZE)).toBe(BYTES);
  expect(numberAt(statx, STATX_OUT_STATX + Statx.MTIME)).toBe(WALL_MS / 1000);
  expect((await kernel.ask(Opcode.UNLINK, ROOT, name('disk'))).errno).toBe(Errno.EPERM);
  expect((await kernel.ask(Opcode.CREATE, ROOT, new Uint8Array(16))).errno).toBe(Errno.EPERM);
});

test('what cannot be known now is an error, and no empty folder', async () => {
  const { kernel, source } = rig();
  await kernel.init();
  source.isAway = true;
  expect((await kernel.ask(Opcode.OPENDIR, ROOT)).errno).toBe(Errno.EIO);
  expect((await kernel.ask(Opcode.LOOKUP, ROOT, name('disk'))).errno).toBe(Errno.EIO);
  expect((await kernel.ask(Opcode.STATFS, ROOT)).errno).toBe(Errno.EIO);
});

test('what there is no room for at the device is tried again', async () => {
  const { kernel, device } = await opened();
  let refusals = 0;
  device.isNow = () => false;
  device.failure = () => (refusals++ < 3 ? Status.Busy : Status.Ok);
  expect((await kernel.write(FILE, 0, new Uint8Array(512).fill(9))).errno).toBe(0);
  expect([refusals, device.content[511]]).toEqual([4, 9]);
  refusals = 0;
  expect((await kernel.ask(Opcode.FSYNC, FILE)).errno).toBe(0);
  expect(refusals).toBe(4);
});

test('shows a folder with a file for each device', async () => {
  const { kernel } = rig();
  await kernel.init();
  const folder = await kernel.ask(Opcode.OPENDIR, ROOT);
  const list = (from: number) => {
    const wish = readBody(from, 64);
    wish.set(folder.body.subarray(0, 8));
    return kernel.ask(Opcode.READDIR, ROOT, wish);
  };
  const found = await kernel.ask(Opcode.LOOKUP, ROOT, name('other'));
  expect(numberAt(found.body, EntryOut.NODE)).toBe(3);
  expect(numberAt(found.body, EntryOut.ATTR + Attr.SIZE)).toBe(512);
  expect((await kernel.ask(Opcode.LOOKUP, ROOT, name('disks'))).errno).toBe(Errno.ENOENT);
  expect((await kernel.ask(Opcode.LOOKUP, FILE, name('disk'))).errno).toBe(Errno.ENOTDIR);
  expect((await kernel.ask(Opcode.GETATTR, 9)).errno).toBe(Errno.ENOENT);
  const attr = (await kernel.ask(Opcode.GETATTR, FILE)).body;
  expect(numberAt(attr, ATTR_OUT_ATTR + Attr.SIZE)).toBe(BYTES);
  expect(view(attr).getUint32(ATTR_OUT_ATTR + Attr.MODE, true)).toBe(0o100_600);
  const names: string[] = [];
  for (let from = 0; ; ) {
    // Room for two of them.
    const { body: entries } = await list(from);
    if (entries.length === 0) break;
    for (let at = 0; at < entries.length; ) {
      const length = view(entries).getUint32(at + Dirent.NAMELEN, true);
      const text = entries.subarray(at + Dirent.NAME, at + Dirent.NAME + length);
      names.push(new TextDecoder().decode(text));
      from = numberAt(entries, at + Dirent.OFF);
      at += Math.ceil((Dirent.NAME + length) / 8) * 8;
    }
  }
  expect(names).toEqual(['.', '..', 'disk', 'other']);
  expect((await kernel.ask(Opcode.OPENDIR, FILE)).errno).toBe(Errno.ENOTDIR);
  expect((await kernel.ask(Opcode.OPEN, ROOT)).errno).toBe(Errno.EISDIR);
  expect((await kernel.ask(Opcode.STATFS, ROOT)).errno).toBe(0);
  expect((await kernel.ask(99, FILE)).errno).toBe(Errno.ENOSYS);
});

test('reads and writes any bytes, and nothing beyond the end', async () => {
  const { kernel, device } = await opened();
  const data = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);
  const wrote = await kernel.write(FILE, 65_000, data);
  expect([wrote.errno, view(wrote.body).getUint32(0, true)]).toEqual([0, data.length]);
  expect(Buffer.compare(device.content.subarray(65_000, 165_000), data)).toBe(0);
  const back = await kernel.read(FILE, 65_100, 1_000);
  expect(Buffer.compare(back.body, data.subarray(100, 1_100))).toBe(0);
  expect((await kernel.read(FILE, BYTES - 10, 100)).body).toHaveLength(10);
  expect((await kernel.read(FILE, BYTES, 100)).body).toHaveLength(0);
  expect((await kernel.write(FILE, BYTES - 10, new Uint8Array(11))).errno).toBe(Errno.EFBIG);
  expect((await kernel.write(FILE, 0, new Uint8Array(0))).errno).toBe(0);
  expect((await kernel.read(FILE, 0, kernel.dataBytesMax + 1)).errno).toBe(Errno.EINVAL);
  expect((await kernel.read(FILE, 2 ** 60, 1)).errno).toBe(Errno.EINVAL);
  expect((await kernel.read(ROOT, 0, 1)).errno).toBe(Errno.EISDIR);
  expect([kernel.used, kernel.strays]).toEqual([0, 0]);
});

test('keeps its size and its rights, and takes times', async () => {
  const { kernel } = await opened();
  const set = (valid: number, bytes: number) => {
    const wish = body(88, (view) => {
      view.setUint32(SetattrIn.VALID, valid, true);
      putNumber(view, SetattrIn.SIZE, bytes);
    });
    return kernel.ask(Opcode.SETATTR, FILE, wish);
  };
  expect((await set(FATTR_SIZE, 0)).errno).toBe(Errno.EPERM);
  expect((await set(FATTR_SIZE, BYTES)).errno).toBe(0);
  expect((await set(FATTR_MODE, 0)).errno).toBe(Errno.EPERM);
  expect((await set(1 << 5, 0)).errno).toBe(0);
});

test('a flush, and a write that is to be durable, wait for the device', async () => {
  const { kernel, device } = await opened();
  device.lateMs = () => 20;
  device.isNow = () => false;
  const writing = kernel.write(FILE, 0, new Uint8Array(512), O_DSYNC);
  const flushing = kernel.ask(Opcode.FSYNC, FILE);
  expect(kernel.used).toBe(2);
  expect([(await writing).errno, (await flushing).errno]).toEqual([0, 0]);
  device.failure = (verb) => (verb === 'flush' ? Status.NoSpace : Status.DataLost);
  expect((await kernel.ask(Opcode.FSYNC, FILE)).errno).toBe(Errno.ENOSPC);
  expect((await kernel.read(FILE, 0, 512)).errno).toBe(Errno.EIO);
  // What is around it cannot be read: nothing is written.
  expect((await kernel.write(FILE, 1, new Uint8Array(5))).errno).toBe(Errno.EIO);
  expect([kernel.used, kernel.strays]).toEqual([0, 0]);
});

test('a read of who is being killed is answered at once, a write when it is done', async () => {
  const { kernel, device } = await opened();
  device.lateMs = () => 30;
  device.isNow = () => false;
  const reading = kernel.begin(Opcode.READ, FILE, readBody(0, 4096));
  const writing = kernel.write(FILE, 8192, new Uint8Array(512).fill(3));
  const interrupt = (unique: number) => {
    const which = body(8, (view) => putNumber(view, 0, unique));
    kernel.begin(Opcode.INTERRUPT, 0, which);
  };
  // Any signal of a program that goes on.
  interrupt(reading.unique);
  await new Promise((resolve) => setImmediate(resolve));
  kernel.killed = THREAD;
  interrupt(reading.unique);
  interrupt(reading.unique);
  interrupt(reading.unique + 2);
  expect((await reading.answer).errno).toBe(Errno.EINTR);
  // Its buffer is the device's still.
  expect(kernel.used).toBe(2);
  expect((await writing).errno).toBe(0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect([kernel.used, kernel.strays]).toEqual([0, 0]);
});

test('makes holes', async () => {
  const { kernel, device } = await opened();
  await kernel.write(FILE, 0, new Uint8Array(3 * HOLE_BLOCK_BYTES).fill(7));
  const allocate = (offset: number, length: number, mode: number) => {
    const wish = body(32, (view) => {
      putNumber(view, FallocateIn.OFFSET, offset);
      putNumber(view, FallocateIn.LENGTH, length);
      view.setUint32(FallocateIn.MODE, mode, true);
    });
    return kernel.ask(Opcode.FALLOCATE, FILE, wish);
  };
  const punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  expect((await allocate(HOLE_BLOCK_BYTES, HOLE_BLOCK_BYTES, punch)).errno).toBe(0);
  expect(device.content[HOLE_BLOCK_BYTES]).toBe(0);
  expect(device.content[2 * HOLE_BLOCK_BYTES]).toBe(7);
  expect((await allocate(0, 4096, 0)).errno).toBe(Errno.EOPNOTSUPP);
  expect((await allocate(1, 4096, punch)).errno).toBe(Errno.EOPNOTSUPP);
  expect((await allocate(BYTES, 4096, punch)).errno).toBe(0);
  expect((await allocate(BYTES, 4096, FALLOC_FL_ZERO_RANGE)).errno).toBe(Errno.EFBIG);
  expect((await allocate(BYTES, 4096, 0)).errno).toBe(Errno.EFBIG);
});

test('what is no request is refused, and nothing is lost by it', async () => {
  const { kernel, session } = await opened();
  const prng = new Prng(7);
  const replies: number[] = [];
  const reply = kernel.reply.bind(kernel);
  kernel.reply = (slot, bytes) => {
    replies.push(bytes);
    reply(slot, bytes);
  };
  for (let i = 0; i < 5_000; i++) {
    const { bytes, view: header } = kernel.slots.input[0] as (typeof kernel.slots.input)[number];
    const length = prng.below(200);
    for (let at = 0; at < length; at++) bytes[at] = prng.below(256);
    if (prng.chance(900_000)) header.setUint32(0, length, true);
    if (prng.chance(900_000)) header.setUint32(4, prng.below(50), true);
    if (prng.chance(900_000)) putNumber(header, 16, prng.between(1, 4));
    session.received(0, length);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(replies.every((bytes) => bytes >= 16)).toBe(true);
  expect((await kernel.read(FILE, 0, 512)).errno).toBe(0);
});

test('bytes of one sector that many write at once are all there', async () => {
  const { kernel, device } = await opened(16);
  const prng = new Prng(11);
  device.lateMs = () => prng.below(3);
  const model = new Uint8Array(BYTES);
  const lanes = Array.from({ length: 12 }, async (_, lane) => {
    for (let i = 0; i < 120; i++) {
      // Each lane has its own bytes, next to those of others.
      const at = prng.below(40) * 120 + lane * 10;
      const data = new Uint8Array(1 + prng.below(10)).fill(1 + prng.below(255));
      if (prng.chance(700_000)) {
        model.set(data, at);
        expect((await kernel.write(FILE, at, data)).errno).toBe(0);
      } else {
        const { body: seen } = await kernel.read(FILE, at, data.length);
        expect([...seen]).toEqual([...model.subarray(at, at + data.length)]);
      }
    }
  });
  await Promise.all(lanes);
  expect(Buffer.compare(device.content.subarray(0, 8192), model.subarray(0, 8192))).toBe(0);
  expect([kernel.used, kernel.strays]).toEqual([0, 0]);
});

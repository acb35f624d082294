import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { ServedDevice } from '../block/served-device.js';
import type { CompletionSink } from '../fabric/link.js';
import { Change } from './backend.js';
import { DeviceBackend } from './device-backend.js';

const KIB = 1024;
const SLAB = 256 * KIB;

type Part = readonly [what: 'trim' | 'write' | 'read', offset: number, bytes: number];

/** A device of four slabs, the last one absent, that does what it is told, and notes it. */
class FakeDevice {
  readonly bytes = 4 * SLAB;
  readonly isBackedUp: boolean;
  readonly parts: Part[] = [];
  readonly device = {
    leftInSlab: (offset: number) => SLAB - (offset % SLAB),
    isAbsent: (offset: number, _bytes: number) => offset >= 3 * SLAB,
  };
  flushes = 0;
  zeroing = 0;
  underWay = 0;
  mostAtOnce = 0;
  /** How parts from here on end. */
  badFrom = Infinity;

  constructor(isBackedUp = false) {
    this.isBackedUp = isBackedUp;
  }

  #do(part: Part, sink: CompletionSink): void {
    this.parts.push(part);
    const status = part[1] >= this.badFrom ? Status.Unavailable : Status.Ok;
    this.underWay += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.underWay);
    setImmediate(() => {
      this.underWay -= 1;
      sink.completed(0, status, 'applied', 0, 0);
    });
  }

  trim(offset: number, bytes: number, sink: CompletionSink): void {
    this.#do(['trim', offset, bytes], sink);
  }

  write(
    offset: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
  ): void {
    expect(from.subarray(start, start + bytes).every((byte) => byte === 0)).toBe(true);
    this.#do(['write', offset, bytes], sink);
  }

  read(offset: number, _into: Uint8Array, _start: number, bytes: number, sink: CompletionSink) {
    this.#do(['read', offset, bytes], sink);
  }

  flush(): Promise<Status> {
    this.flushes += 1;
    return Promise.resolve(Status.Ok);
  }
}

type Verb = 'trim' | 'writeZeroes';

/** How it ended, and what it was done with, in the order of offsets. */
async function done(device: FakeDevice, verb: Verb, range: readonly [number, number], change = 0) {
  const timers = { soon: setImmediate, after: setTimeout } as never;
  const backend = new DeviceBackend('disk', '', device as unknown as ServedDevice, timers);
  device.parts.length = 0;
  const status = await new Promise<Status>((resolve) => {
    const sink = { completed: (_token: number, end: Status) => resolve(end) };
    backend[verb](range[0], range[1], change, sink, 0);
  });
  return { status, parts: [...device.parts].sort((a, b) => a[1] - b[1]) };
}

test('whole blocks are trimmed piece by piece, and what is beside them stays', async () => {
  const device = new FakeDevice();
  expect(await done(device, 'trim', [60 * KIB + 512, 72 * KIB])).toEqual({
    status: Status.Ok,
    parts: [
      ['trim', 64 * KIB, 64 * KIB],
      ['trim', 128 * KIB, 4 * KIB],
    ],
  });
  expect(await done(device, 'trim', [512, 7 * 512])).toEqual({ status: Status.Ok, parts: [] });
  expect(await done(device, 'trim', [1024, 4096])).toEqual({ status: Status.Ok, parts: [] });
  const { parts } = await done(device, 'trim', [0, 3 * SLAB]);
  expect(parts).toEqual(Array.from({ length: 12 }, (_, i) => ['trim', i * 64 * KIB, 64 * KIB]));
});

test('of zeros the parts of blocks at both ends are written', async () => {
  const device = new FakeDevice();
  expect(await done(device, 'writeZeroes', [60 * KIB + 512, 72 * KIB])).toEqual({
    status: Status.Ok,
    parts: [
      ['write', 60 * KIB + 512, 4 * KIB - 512],
      ['trim', 64 * KIB, 64 * KIB],
      ['trim', 128 * KIB, 4 * KIB],
      ['write', 132 * KIB, 512],
    ],
  });
  const small = await done(device, 'writeZeroes', [512, 1024]);
  expect(small.parts).toEqual([['write', 512, 1024]]);
});

test('many requests for zeros leave room for others', async () => {
  const device = new FakeDevice();
  const requests = Array.from({ length: 100 }, () => done(device, 'writeZeroes', [0, 3 * SLAB]));
  const ends = await Promise.all(requests);
  expect(ends.every(({ status }) => status === Status.Ok)).toBe(true);
  // Each has one at least, and all together some more.
  expect(device.mostAtOnce).toBeGreaterThanOrEqual(256);
  expect(device.mostAtOnce).toBeLessThanOrEqual(256 + 100);
  expect(device.zeroing).toBe(0);
});

test('zeros that keep their room are written', async () => {
  const device = new FakeDevice();
  const { parts } = await done(device, 'writeZeroes', [SLAB - 512, 4096], Change.NO_HOLE);
  expect(parts).toEqual([
    ['write', SLAB - 512, 512],
    ['write', SLAB, 3584],
  ]);
});

test('what was never written is asked about once, and takes nothing', async () => {
  const device = new FakeDevice();
  for (const verb of ['trim', 'writeZeroes'] as const) {
    const { parts } = await done(device, verb, [3 * SLAB - 64 * KIB, SLAB]);
    expect(parts).toEqual([
      ['trim', 3 * SLAB - 64 * KIB, 64 * KIB],
      ['read', 3 * SLAB, 512],
    ]);
  }
});

test('fast zeros are refused where they would be written', async () => {
  const range = [0, 64 * KIB] as const;
  const fast = (device: FakeDevice, more = 0) =>
    done(device, 'writeZeroes', range, Change.FAST | more);
  expect((await fast(new FakeDevice())).status).toBe(Status.Ok);
  const refused = { status: Status.Unsupported, parts: [] };
  expect(await fast(new FakeDevice(), Change.NO_HOLE)).toEqual(refused);
  expect(await fast(new FakeDevice(true))).toEqual(refused);
});

test('a trim that is to be durable is flushed, and one that fails says so', async () => {
  const device = new FakeDevice(true);
  expect((await done(device, 'trim', [0, 4096], Change.DURABLE)).status).toBe(Status.Ok);
  expect(device.flushes).toBe(1);
  device.badFrom = 128 * KIB;
  const { status, parts } = await done(device, 'trim', [0, 3 * SLAB], Change.DURABLE);
  expect([status, device.flushes]).toEqual([Status.Unavailable, 1]);
  expect(parts.length).toBeLessThan(12);
});

import { describe, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { KiB, MiB } from '../../base/units.js';
import * as nbd from './protocol.js';
import { requestBytes } from './testing/client.js';
import type { Verb } from '../testing/memory-backend.js';
import { Rig, type RigOptions, someBytes } from './testing/rig.js';

/** Both forms of answers, at once and late. */
const WAYS = [
  { structured: true, late: false },
  { structured: true, late: true },
  { structured: false, late: false },
  { structured: false, late: true },
];

async function rigOf(late: boolean, options: RigOptions = {}): Promise<Rig> {
  const rig = await new Rig(options).listen();
  if (late) rig.backend.lateMs = () => rig.world.prng.fraction();
  return rig;
}

describe.each(WAYS)('structured $structured, late $late:', ({ structured, late }) => {
  test('what was written is read, at any place and of any length', async () => {
    const rig = await rigOf(late, { backend: { bytes: 4 * MiB } });
    const client = await rig.use({ structured });
    const model = new Uint8Array(4 * MiB);
    const lengths = [1, 7, 512, 4096, 128 * KiB - 1, 128 * KiB + 1, 300_001, 3 * MiB];
    for (const [i, length] of lengths.entries()) {
      const offset = i * 4099;
      const bytes = someBytes(length, i);
      model.set(bytes, offset);
      expect((await rig.wait(client.write(offset, bytes))).error).toBe(0);
      const { error, data } = await rig.wait(client.read(offset, length));
      expect(error).toBe(0);
      expect(Buffer.compare(data, bytes)).toBe(0);
    }
    const { data } = await rig.wait(client.read(0, 4 * MiB));
    expect(Buffer.compare(data, model)).toBe(0);
    expect(Buffer.compare(rig.backend.content, model)).toBe(0);
    expect(client.violation).toBeUndefined();
    expect(rig.door.pool.taken).toBe(0);
    expect(rig.door.counters).toMatchObject({ writes: lengths.length, requestsFailed: 0 });
  });

  test('many at once are each answered', async () => {
    const rig = await rigOf(late, { backend: { bytes: 2 * MiB } });
    const client = await rig.use({ structured });
    const bytes = someBytes(2 * MiB, 5);
    rig.backend.fill(0, bytes);
    const reads = Array.from({ length: 1_000 }, (_, i) => client.read(i * 2048, 4096 - i));
    const answers = await rig.wait(Promise.all(reads));
    answers.forEach(({ error, data }, i) => {
      expect(error).toBe(0);
      expect(Buffer.compare(data, bytes.subarray(i * 2048, i * 2048 + 4096 - i))).toBe(0);
    });
    expect(rig.door.pool.taken).toBe(0);
  });

  test('holes are read as zeros, and told where that can be', async () => {
    const rig = await rigOf(late);
    const client = await rig.use({ structured });
    rig.backend.fill(300 * KiB, someBytes(4096, 1));
    const { data, holeChunks, dataChunks } = await rig.wait(client.read(0, MiB));
    expect(Buffer.compare(data, rig.backend.content)).toBe(0);
    expect([holeChunks, dataChunks]).toEqual(structured ? [2, 1] : [0, 1]);
  });

  test('zeroes, trim, cache and flush do what they say', async () => {
    const rig = await rigOf(late);
    const client = await rig.use({ structured });
    rig.backend.fill(0, someBytes(MiB, 2));
    expect((await rig.wait(client.zeroes(4095, 8194))).error).toBe(0);
    expect(rig.backend.content.subarray(4095, 12_289).every((byte) => byte === 0)).toBe(true);
    expect(rig.backend.content[4094]).toBe(someBytes(4095, 2)[4094]);
    expect((await rig.wait(client.trim(64 * KiB, 64 * KiB))).error).toBe(0);
    expect((await rig.wait(client.cache(0, MiB))).error).toBe(0);
    expect(rig.backend.isSafe(0, MiB)).toBe(false);
    expect((await rig.wait(client.flush())).error).toBe(0);
    expect(rig.backend.isSafe(0, MiB)).toBe(true);
    const { calls } = rig.backend;
    expect(calls).toMatchObject({ writeZeroes: 1, trim: 1, cache: 1, flush: 1 });
  });

  test('NBD_CMD_FLAG_FUA makes one change safe, and is taken with every command', async () => {
    const rig = await rigOf(late);
    const client = await rig.use({ structured });
    await rig.wait(client.write(0, someBytes(300 * KiB, 1), nbd.NBD_CMD_FLAG_FUA));
    await rig.wait(client.zeroes(512 * KiB, 4096, nbd.NBD_CMD_FLAG_FUA));
    await rig.wait(client.trim(600 * KiB, 4096, nbd.NBD_CMD_FLAG_FUA));
    expect(rig.backend.isSafe(0, MiB)).toBe(true);
    await rig.wait(client.write(0, someBytes(10, 1)));
    expect(rig.backend.isSafe(0, 4096)).toBe(false);
    for (const type of [nbd.NBD_CMD_READ, nbd.NBD_CMD_CACHE]) {
      const answer = client.request(type, nbd.NBD_CMD_FLAG_FUA, 0, 4096);
      expect((await rig.wait(answer)).error).toBe(0);
    }
    const flush = client.request(nbd.NBD_CMD_FLUSH, nbd.NBD_CMD_FLAG_FUA, 0, 0);
    expect((await rig.wait(flush)).error).toBe(0);
  });

  test('a flush covers what was answered on another connection', async () => {
    const rig = await rigOf(late);
    const [one, other] = [await rig.use({ structured }), await rig.use({ structured })];
    await rig.wait(one.write(0, someBytes(MiB, 3)));
    await rig.wait(other.flush());
    expect(rig.backend.isSafe(0, MiB)).toBe(true);
  });

  test('NO_HOLE keeps the room, and fast zeroes are refused where they are slow', async () => {
    const rig = await rigOf(late);
    const client = await rig.use({ structured });
    await rig.wait(client.zeroes(0, 8192, nbd.NBD_CMD_FLAG_NO_HOLE));
    expect(rig.backend.extent(0, 4096) % 4).toBe(0);
    rig.backend.fill(0, someBytes(4096, 1));
    const fast = nbd.NBD_CMD_FLAG_FAST_ZERO;
    rig.backend.isSlowAtZeroes = true;
    expect((await rig.wait(client.zeroes(0, 4096, fast))).error).toBe(nbd.NBD_ENOTSUP);
    expect(Buffer.compare(rig.backend.content.subarray(0, 4096), someBytes(4096, 1))).toBe(0);
    rig.backend.isSlowAtZeroes = false;
    expect((await rig.wait(client.zeroes(0, 4096, fast))).error).toBe(0);
    expect(rig.backend.content[7]).toBe(0);
  });

  test('a failure anywhere is told, and the connection goes on', async () => {
    const rig = await rigOf(late, { backend: { isSparse: false } });
    const client = await rig.use({ structured });
    rig.backend.fill(0, someBytes(MiB, 4));
    const failing = (verb: Verb, at: number, status: Status): void => {
      rig.backend.failure = (which, offset, bytes) =>
        which === verb && offset <= at && at < offset + Math.max(1, bytes) ? status : Status.Ok;
    };
    for (const at of [0, 200 * KiB, MiB - 1]) {
      failing('read', at, Status.Unavailable);
      const read = await rig.wait(client.read(0, MiB));
      expect(read.error).toBe(nbd.NBD_EIO);
      if (structured) {
        expect(read.message).toContain('Unavailable');
        expect(read.failedAt).toBe(at - (at % (64 * KiB)));
      }
      failing('write', at, Status.NoSpace);
      expect((await rig.wait(client.write(0, someBytes(MiB, 4)))).error).toBe(nbd.NBD_ENOSPC);
    }
    failing('flush', 0, Status.Denied);
    expect((await rig.wait(client.flush())).error).toBe(nbd.NBD_EPERM);
    failing('trim', 0, Status.Busy);
    expect((await rig.wait(client.trim(0, 4096))).error).toBe(nbd.NBD_ENOMEM);
    failing('writeZeroes', 0, Status.Closed);
    expect((await rig.wait(client.zeroes(0, 4096))).error).toBe(nbd.NBD_ESHUTDOWN);
    // Of anything but fast zeroes it is a mistake of the client's.
    failing('cache', 0, Status.Unsupported);
    expect((await rig.wait(client.cache(0, 4096))).error).toBe(nbd.NBD_EINVAL);
    rig.backend.failure = undefined;
    const { data } = await rig.wait(client.read(0, MiB));
    expect(Buffer.compare(data, rig.backend.content)).toBe(0);
    expect([client.violation, client.closedBecause]).toEqual([undefined, undefined]);
    expect(rig.door.pool.taken).toBe(0);
  });

  test('what is wrong with a request is told by the right error', async () => {
    const rig = await rigOf(late, { backend: { blockMin: 512 } });
    const client = await rig.use({ structured });
    const { NBD_EINVAL, NBD_ENOSPC } = nbd;
    const [READ, WRITE, TRIM] = [nbd.NBD_CMD_READ, nbd.NBD_CMD_WRITE, nbd.NBD_CMD_TRIM];
    const [ZEROES, CACHE, FLUSH] = [nbd.NBD_CMD_WRITE_ZEROES, nbd.NBD_CMD_CACHE, nbd.NBD_CMD_FLUSH];
    const STATUS = nbd.NBD_CMD_BLOCK_STATUS;
    const cases: [number, number, number, number, number][] = [];
    for (const type of [READ, WRITE, TRIM, ZEROES, CACHE, STATUS]) {
      const beyond = type === WRITE || type === ZEROES ? NBD_ENOSPC : NBD_EINVAL;
      cases.push([type, 0, 0, 0, NBD_EINVAL], [type, 0, 1, 512, NBD_EINVAL]);
      cases.push([type, 0, 512, 513, NBD_EINVAL], [type, 0, MiB - 512, 1024, beyond]);
      cases.push([type, 0, MiB, 512, beyond], [type, 0, 2 ** 53 - 512, 512, beyond]);
      for (let bit = 0; bit < 16; bit++) {
        if (!flagsOf(type, structured).includes(bit)) {
          cases.push([type, 1 << bit, 0, 512, NBD_EINVAL]);
        }
      }
    }
    cases.push([FLUSH, 0, 0, 512, NBD_EINVAL], [FLUSH, 0, 512, 0, NBD_EINVAL]);
    for (const type of [8, 9, 255, 65_535]) cases.push([type, 0, 0, 512, NBD_EINVAL]);
    for (const [type, flags, offset, length, error] of cases) {
      const payload = type === WRITE ? new Uint8Array(length) : undefined;
      const answer = await rig.wait(client.request(type, flags, offset, length, payload));
      expect([type, flags, offset, length, answer.error]).toEqual([
        type,
        flags,
        offset,
        length,
        error,
      ]);
    }
    expect(client.violation).toBeUndefined();
    expect(rig.door.counters.requestsFailed).toBe(cases.length);
    expect((await rig.wait(client.read(0, 512))).error).toBe(0);
  });

  test('an offset above 2^53 is beyond the end', async () => {
    const rig = await rigOf(late);
    const client = await rig.use({ structured });
    expect((await rig.wait(client.request(nbd.NBD_CMD_READ, 0, 2 ** 60, 4096))).error).toBe(
      nbd.NBD_EINVAL,
    );
  });

  test('a read-only export is not changed', async () => {
    const rig = await rigOf(late, { backend: { isReadOnly: true } });
    const client = await rig.use({ structured });
    for (const answer of [
      client.write(0, new Uint8Array(300 * KiB)),
      client.trim(0, 512),
      client.zeroes(0, 512),
    ]) {
      expect((await rig.wait(answer)).error).toBe(nbd.NBD_EPERM);
    }
    expect((await rig.wait(client.read(0, 512))).error).toBe(0);
    expect((await rig.wait(client.flush())).error).toBe(0);
  });

  test('a goodbye is heeded after what is under way, and what follows it is not', async () => {
    const rig = await rigOf(late);
    const client = await rig.use({ structured });
    const before = client.write(0, someBytes(300 * KiB, 8));
    const read = client.read(512 * KiB, 256 * KiB);
    client.disconnect();
    const after = client.write(0, new Uint8Array(4096));
    expect((await rig.wait(before)).error).toBe(0);
    expect((await rig.wait(read)).error).toBe(0);
    expect((await rig.wait(after)).error).toBe(-1);
    expect(Buffer.compare(rig.backend.content.subarray(0, 4096), someBytes(4096, 8))).toBe(0);
    expect(client.violation).toBeUndefined();
    await rig.pass(10);
    expect([rig.door.sessions, rig.exports.users, rig.door.counters.malformed]).toEqual([0, 0, 0]);
  });

  test('a request without its magic ends the connection, and nothing of it is done', async () => {
    const rig = await rigOf(late);
    const [client, other] = [await rig.use({ structured }), await rig.use({ structured })];
    const request = requestBytes(nbd.NBD_CMD_WRITE_ZEROES, 0, 1, 0, 4096);
    request[3] = 0;
    client.send(request.subarray(0, 4));
    await rig.pass(10);
    expect(client.closedBecause).toBeDefined();
    expect([rig.backend.calls.writeZeroes, rig.door.counters.malformed]).toEqual([0, 1]);
    expect((await rig.wait(other.read(0, 512))).error).toBe(0);
  });

  test('a client that goes in the middle leaves nothing behind', async () => {
    const rig = await rigOf(late);
    if (late) rig.backend.lateMs = () => 50;
    const client = await rig.use({ structured });
    void client.read(0, MiB);
    void client.request(nbd.NBD_CMD_WRITE, 0, 0, MiB, new Uint8Array(300 * KiB));
    await rig.pass(5);
    client.close();
    await rig.pass(5);
    if (late) expect([rig.door.sessions, rig.exports.users]).toEqual([1, 1]);
    await rig.pass(100);
    expect([rig.door.sessions, rig.exports.users, rig.door.pool.taken]).toEqual([0, 0, 0]);
  });

  test('a door that stops answers what is under way, and refuses what comes', async () => {
    const rig = await rigOf(late);
    rig.backend.lateMs = (verb) => (verb === 'flush' ? 100 : 0);
    const client = await rig.use({ structured });
    const flush = client.flush();
    await rig.pass(10);
    const stopped = rig.door.stop();
    await rig.pass(10);
    expect((await rig.wait(client.write(0, new Uint8Array(512)))).error).toBe(nbd.NBD_ESHUTDOWN);
    expect((await rig.wait(flush)).error).toBe(0);
    await rig.wait(stopped);
    await rig.pass(1);
    expect(client.closedBecause).toBeDefined();
    expect([rig.door.sessions, rig.exports.users]).toEqual([0, 0]);
  });
});

/** The bits of the flags that a command has. */
function flagsOf(type: number, structured: boolean): number[] {
  if (type === nbd.NBD_CMD_READ) return structured ? [0, 2] : [0];
  if (type === nbd.NBD_CMD_WRITE_ZEROES) return [0, 1, 4];
  return type === nbd.NBD_CMD_BLOCK_STATUS && structured ? [0, 3] : [0];
}

test.each([true, false])(
  'the longest request is served, a longer one refused (%s)',
  async (structured) => {
    const rig = await rigOf(true, { backend: { bytes: 40 * MiB, isSparse: false } });
    const client = await rig.use({ structured });
    const bytes = new Uint8Array(32 * MiB).fill(7);
    bytes[32 * MiB - 1] = 9;
    expect((await rig.wait(client.write(3 * MiB + 1, bytes))).error).toBe(0);
    const { error, data } = await rig.wait(client.read(3 * MiB + 1, 32 * MiB));
    expect([error, Buffer.compare(data, bytes)]).toEqual([0, 0]);
    const longer = new Uint8Array(32 * MiB + 1);
    expect((await rig.wait(client.write(0, longer))).error).toBe(nbd.NBD_EINVAL);
    expect((await rig.wait(client.read(0, 32 * MiB + 1))).error).toBe(nbd.NBD_EINVAL);
    expect((await rig.wait(client.zeroes(0, 40 * MiB))).error).toBe(0);
    expect((await rig.wait(client.read(3 * MiB, 10))).data).toEqual(new Uint8Array(10));
    expect(client.violation).toBeUndefined();
  },
);

test('with DF a read comes in one piece, as long as it may be', async () => {
  for (const late of [false, true]) {
    const rig = await rigOf(late, { backend: { bytes: 2 * MiB } });
    const client = await rig.use();
    rig.backend.fill(4096, someBytes(MiB, 6));
    for (const length of [1, 65_536, 300_000, MiB]) {
      const answer = await rig.wait(client.read(1000, length, nbd.NBD_CMD_FLAG_DF));
      expect([answer.error, answer.dataChunks, answer.holeChunks]).toEqual([0, 1, 0]);
      const wanted = rig.backend.content.subarray(1000, 1000 + length);
      expect(Buffer.compare(answer.data, wanted)).toBe(0);
    }
    const tooLong = await rig.wait(client.read(0, MiB + 1, nbd.NBD_CMD_FLAG_DF));
    expect([tooLong.error, tooLong.dataChunks]).toEqual([nbd.NBD_EOVERFLOW, 0]);
    expect(client.violation).toBeUndefined();
  }
});

test('block status tells holes and data, joined, one alone where that is wanted', async () => {
  const rig = await rigOf(false);
  const client = await rig.use();
  rig.backend.fill(8192, new Uint8Array(8192));
  rig.backend.fill(MiB - 4096, new Uint8Array(1));
  const all = await rig.wait(client.blockStatus(0, MiB));
  expect(all.extents).toEqual([8192, 3, 8192, 0, MiB - 20_480, 3, 4096, 0]);
  const one = await rig.wait(client.blockStatus(100, MiB - 100, nbd.NBD_CMD_FLAG_REQ_ONE));
  expect(one.extents).toEqual([8092, 3]);
  const part = await rig.wait(client.blockStatus(9000, 10));
  expect(part.extents).toEqual([10, 0]);
});

test('a map of crumbs is told in part, and can be told to its end', async () => {
  const rig = await rigOf(false, { backend: { bytes: 64 * MiB } });
  const client = await rig.use();
  for (let at = 0; at < 64 * MiB; at += 8192) rig.backend.fill(at, new Uint8Array(1));
  let at = 0;
  let descriptors = 0;
  while (at < 64 * MiB) {
    const { extents } = await rig.wait(client.blockStatus(at, 64 * MiB - at));
    expect(extents.length / 2).toBeLessThanOrEqual(1024);
    descriptors += extents.length / 2;
    for (let i = 0; i < extents.length; i += 2) at += extents[i] as number;
  }
  expect([at, descriptors]).toEqual([64 * MiB, 16_384]);
  expect(client.violation).toBeUndefined();
});

test('an export that knows no holes says that all is data', async () => {
  const rig = await rigOf(false, { backend: { isSparse: false } });
  const client = await rig.use();
  expect((await rig.wait(client.blockStatus(0, MiB))).extents).toEqual([MiB, 0]);
  const { holeChunks } = await rig.wait(client.read(0, MiB));
  expect(holeChunks).toBe(0);
});

test('a long simple reply that fails in its middle ends the connection', async () => {
  const rig = await rigOf(true, { backend: { bytes: 8 * MiB } });
  const client = await rig.use({ structured: false });
  rig.backend.failure = (verb, offset) =>
    verb === 'read' && offset >= 6 * MiB ? Status.DataLost : Status.Ok;
  expect((await rig.wait(client.read(0, 8 * MiB))).error).toBe(-1);
  expect(client.violation).toBeUndefined();
  await rig.pass(20);
  expect([rig.door.sessions, rig.door.pool.taken]).toEqual([0, 0]);
  // What fails at once is told.
  const next = await rig.use({ structured: false });
  rig.backend.failure = (verb) => (verb === 'read' ? Status.DataLost : Status.Ok);
  expect((await rig.wait(next.read(0, 8 * MiB))).error).toBe(nbd.NBD_EIO);
  expect(next.closedBecause).toBeUndefined();
});

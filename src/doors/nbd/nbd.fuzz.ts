/**
 * Random sessions against a model byte for byte, with input split at any byte and answers in any
 * order; and hostile bytes at any point of a session, which harm nobody else. `MEMRACK_FUZZ` sets
 * how many, `MEMRACK_SEED` which.
 */

import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { Status } from '../../base/status.js';
import { KiB } from '../../base/units.js';
import { FakeWorld } from '../../fabric/testing/fake-world.js';
import type { Bytes, Stream, StreamHandler } from '../../runtime/network.js';
import { NbdDoor } from './door.js';
import { NBD_LIMITS, type NbdLimits } from './limits.js';
import * as nbd from './protocol.js';
import { contextData, infoData, NbdClient, optionBytes, requestBytes } from './testing/client.js';
import { MemoryBackend, MemoryExports } from '../testing/memory-backend.js';
import { ADDRESS, Rig, someBytes } from './testing/rig.js';

const RUNS = Number(process.env['MEMRACK_FUZZ'] ?? 20_000);
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);
const BYTES = 600 * KiB;

/** As tight as they may be, in several ways. */
const LIMITS: readonly Partial<NbdLimits>[] = [
  {},
  { requests: 4, turnWork: 64 * KiB },
  { requests: 1 },
  { heldBytes: 64 * KiB, bufferBytes: 448 * KiB, pieces: 4 },
  { heldBytes: 300 * KiB, bufferBytes: 684 * KiB, requests: 20 },
];
/** Of a stream's buffers, where they are small: what is reserved at most, and a little. */
const TIGHT_BYTES = 320 * KiB;

// ------------------------------------------------------------------------- against a model

interface Range {
  readonly offset: number;
  readonly length: number;
  readonly isWrite: boolean;
}

/** One random session of several connections, and what the device is to hold. */
class Session {
  readonly rig: Rig;
  readonly prng: Prng;
  readonly model = new Uint8Array(BYTES);
  readonly #clients: NbdClient[] = [];
  readonly #busy = new Set<Range>();
  readonly #block: number;
  readonly #heldBytes: number;
  #isFailing = false;
  checked = 0;

  constructor(seed: number) {
    const prng = new Prng(seed);
    this.prng = prng;
    this.#block = [1, 1, 512, 4096][prng.below(4)] as number;
    const isSparse = prng.below(2) === 0;
    const limits = LIMITS[prng.below(LIMITS.length)] as Partial<NbdLimits>;
    this.#heldBytes = limits.heldBytes ?? NBD_LIMITS.heldBytes;
    this.rig = new Rig({
      backend: { bytes: BYTES, blockMin: this.#block, isSparse, seed },
      door: { limits },
      seed,
    });
    if (prng.below(2) === 0) {
      this.rig.world.outputBytes = TIGHT_BYTES;
      this.rig.world.inputBytes = TIGHT_BYTES;
    }
    if (prng.below(3) > 0) this.rig.backend.lateMs = () => prng.fraction() * prng.below(3);
    const chunks = [1, 200, 5_000, 100_000][prng.below(4)] as number;
    this.rig.world.wire = { chunk: () => prng.between(1, Math.max(1, prng.below(chunks))) };
    if (chunks === 1) this.rig.world.wire = { chunk: () => prng.between(1, 64) };
    if (prng.below(3) === 0) this.#failSometimes();
  }

  #failSometimes(): void {
    this.#isFailing = true;
    const statuses = [Status.NoSpace, Status.Unavailable, Status.Invalid, Status.OutcomeUnknown];
    this.rig.backend.failure = () =>
      this.prng.below(12) === 0 ? (statuses[this.prng.below(4)] as Status) : Status.Ok;
  }

  async play(steps: number): Promise<void> {
    await this.rig.listen();
    for (let i = 0; i <= this.prng.below(3); i++) {
      const structured = this.prng.below(3) > 0;
      this.#clients.push(await this.rig.use({ structured }));
    }
    const under: Promise<void>[] = [];
    for (let i = 0; i < steps; i++) {
      under.push(this.#step());
      if (this.prng.below(4) === 0) await this.rig.pass(this.prng.fraction());
      if (this.prng.below(10) === 0) this.#stopReading();
      if (under.length > this.prng.below(40)) await this.rig.wait(Promise.all(under.splice(0)));
    }
    await this.rig.wait(Promise.all(under));
    await this.#end();
  }

  /** One client reads nothing for a while. */
  #stopReading(): void {
    const client = this.#clients[this.prng.below(this.#clients.length)] as NbdClient;
    client.stream.pause();
    this.rig.world.after(this.prng.below(20), () => client.stream.resume());
  }

  async #end(): Promise<void> {
    await this.rig.pass(20);
    this.rig.backend.failure = undefined;
    const client = await this.rig.use();
    this.#clients.push(client);
    expect((await this.rig.wait(client.flush())).error).toBe(0);
    expect(this.rig.backend.isSafe(0, BYTES)).toBe(true);
    const { data } = await this.rig.wait(client.read(0, BYTES - (BYTES % this.#block)));
    expect(Buffer.compare(data, this.model.subarray(0, data.length))).toBe(0);
    for (const one of this.#clients) {
      if (this.prng.below(2) === 0) one.disconnect();
      else one.close();
    }
    await this.rig.pass(2_000);
    for (const { violation } of this.#clients) expect(violation).toBeUndefined();
    const { door, exports, backend } = this.rig;
    const left = [door.sessions, door.pool.taken, exports.users, backend.underWay];
    expect(left).toEqual([0, 0, 0, 0]);
    expect(door.counters.malformed).toBe(0);
  }

  /** A range that nothing is under way for that would make its answer uncertain. */
  #range(isWrite: boolean): Range | undefined {
    const { prng } = this;
    const block = this.#block;
    const most = prng.below(5) === 0 ? BYTES : prng.below(5) === 0 ? 300 * KiB : 9_000;
    const length = block * prng.between(1, Math.max(1, Math.floor(most / block)));
    const last = Math.floor((BYTES - length) / block);
    if (last < 0) return undefined;
    const offset = block * prng.below(last + 1);
    for (const other of this.#busy) {
      const isApart = other.offset + other.length <= offset || offset + length <= other.offset;
      if (!isApart && (isWrite || other.isWrite)) return undefined;
    }
    return { offset, length, isWrite };
  }

  async #step(): Promise<void> {
    const { prng } = this;
    const client = this.#clients[prng.below(this.#clients.length)] as NbdClient;
    const what = prng.below(12);
    const isWrite = what < 6;
    const range = this.#range(isWrite);
    if (range === undefined) return this.#wrong(client);
    this.#busy.add(range);
    if (what < 3) await this.#write(client, range);
    else if (what < 6) await this.#clear(client, range);
    else if (what < 10) await this.#read(client, range);
    else await this.#look(client, range);
    this.#busy.delete(range);
    this.checked++;
  }

  /** What failed may be done in part: then it is as the device says. */
  async #changed(
    client: NbdClient,
    { offset, length }: Range,
    error: number,
    bytes: Uint8Array,
  ): Promise<void> {
    await this.#check(client, error);
    const now = this.rig.backend.content.subarray(offset, offset + length);
    this.model.set(error === 0 ? bytes : now, offset);
  }

  /**
   * That a device which fails made it so. A connection is lost where a long read failed that had
   * been answered in part; what was under way is then waited for.
   */
  async #check(client: NbdClient, error: number): Promise<void> {
    if (error === 0) return;
    expect(this.#isFailing).toBe(true);
    expect(error !== -1 || !client.isStructured).toBe(true);
    if (error === -1) await new Promise<void>((done) => void this.rig.world.after(20, done));
    expect([-1, nbd.NBD_ENOSPC, nbd.NBD_EIO, nbd.NBD_EINVAL]).toContain(error);
  }

  async #write(client: NbdClient, range: Range): Promise<void> {
    const bytes = someBytes(range.length, this.prng.u32());
    const isDurable = this.prng.below(4) === 0;
    const flags = isDurable ? nbd.NBD_CMD_FLAG_FUA : 0;
    const { error } = await client.write(range.offset, bytes, flags);
    await this.#changed(client, range, error, bytes);
  }

  async #clear(client: NbdClient, range: Range): Promise<void> {
    const { offset, length } = range;
    const flags = this.prng.below(2);
    const isTrim = this.prng.below(2) === 0;
    const noHole = nbd.NBD_CMD_FLAG_NO_HOLE;
    const { error } = isTrim
      ? await client.trim(offset, length, flags)
      : await client.zeroes(offset, length, flags + noHole * this.prng.below(2));
    await this.#changed(client, range, error, new Uint8Array(length));
  }

  async #read(client: NbdClient, { offset, length }: Range): Promise<void> {
    const isWhole = client.isStructured && this.prng.below(4) === 0;
    const flags = isWhole ? nbd.NBD_CMD_FLAG_DF : 0;
    const { error, data } = await client.read(offset, length, flags);
    if (isWhole && length > this.#heldBytes) {
      expect([nbd.NBD_EOVERFLOW, -1]).toContain(error);
      return;
    }
    await this.#check(client, error);
    if (error !== 0) return;
    const wanted = this.model.subarray(offset, offset + length);
    expect(Buffer.compare(data, wanted), `read of ${length} at ${offset}`).toBe(0);
  }

  async #look(client: NbdClient, { offset, length }: Range): Promise<void> {
    if (!client.isStructured) {
      await this.#check(client, (await client.cache(offset, length)).error);
      return;
    }
    const { error, extents } = await client.blockStatus(offset, length);
    await this.#check(client, error);
    let at = offset;
    for (let i = 0; i < extents.length; i += 2) {
      const end = at + (extents[i] as number);
      const isZero = ((extents[i + 1] as number) & nbd.NBD_STATE_ZERO) !== 0;
      if (isZero) expect(this.model.subarray(at, end).every((byte) => byte === 0)).toBe(true);
      at = end;
    }
    expect(at).toBeLessThanOrEqual(offset + length);
  }

  /** A request that is refused, with its payload where it has one. */
  async #wrong(client: NbdClient): Promise<void> {
    const type = this.prng.below(10);
    if (type === nbd.NBD_CMD_DISC) return;
    const length = 4096 * this.prng.below(20);
    const payload = type === nbd.NBD_CMD_WRITE ? new Uint8Array(length).fill(1) : undefined;
    const { error } = await client.request(type, 0, BYTES, length, payload);
    expect([nbd.NBD_EINVAL, nbd.NBD_ENOSPC, -1]).toContain(error);
  }
}

test('random sessions read what the model holds', async () => {
  let checked = 0;
  for (let run = 0; run < RUNS / 800; run++) {
    const session = new Session(SEED * 10_000 + run);
    try {
      await session.play(60);
    } catch (error) {
      throw new Error(`MEMRACK_SEED: session ${SEED * 10_000 + run}`, { cause: error });
    }
    checked += session.checked;
  }
  expect(checked).toBeGreaterThan((RUNS / 800) * 20);
});

// -------------------------------------------------------------------------------- hostile

/** What the hostile export holds, the other one, and what nobody may be shown. */
const HOSTILE_BYTE = 0x11;
const SECRET_BYTE = 0x22;
const SPOILT_BYTE = 0xee;

/** Receives anything, and looks for what it must not be shown. */
class Eavesdropper implements StreamHandler {
  stream: Stream | undefined;
  isClosed = false;
  leaks = 0;

  received(_stream: Stream, input: Bytes, start: number, end: number): number {
    let run = 0;
    for (let i = start; i < end; i++) {
      const byte = input.bytes[i] as number;
      run = byte === SECRET_BYTE || byte === SPOILT_BYTE ? run + 1 : 0;
      if (run === 8) this.leaks++;
    }
    return end - start;
  }

  drained(): void {}

  closed(): void {
    this.isClosed = true;
  }

  send(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.isClosed; at += 64 * KiB) {
      const piece = bytes.subarray(at, at + 64 * KiB);
      const place = this.stream?.reserve((piece.length + 7) & ~7) ?? -1;
      if (place < 0) return;
      this.stream?.output.bytes.set(piece, place);
      this.stream?.commit(piece.length);
    }
    this.stream?.flush();
  }
}

function someOption(prng: Prng): Uint8Array {
  const name = ['hostile', '', 'other', 'secret'][prng.below(4)] as string;
  const infos = Array.from({ length: prng.below(4) }, () => prng.below(6));
  const queries = ['base:allocation', 'base:', 'x:'].slice(prng.below(4));
  const data = [infoData(name, infos), contextData(name, queries), new Uint8Array(0)];
  data.push(new Uint8Array(prng.below(40)));
  const option = prng.below(14);
  return optionBytes(option, data[prng.below(4)] as Uint8Array);
}

function someRequest(prng: Prng): Uint8Array[] {
  const type = [0, 0, 1, 1, 3, 4, 5, 6, 7, prng.below(65_536)][prng.below(10)] as number;
  const flags = prng.below(3) === 0 ? prng.below(64) : 0;
  const offset = prng.below(4) === 0 ? prng.u32() * prng.below(2 ** 20) : prng.below(BYTES);
  const length = prng.below(9) === 0 ? prng.u32() : prng.below(200 * KiB);
  const request = requestBytes(type, flags, prng.u32(), offset, length);
  if (type !== nbd.NBD_CMD_WRITE) return [request];
  return [request, new Uint8Array(Math.min(length, 300 * KiB)).fill(HOSTILE_BYTE)];
}

/** A session as it may be, and then not quite. */
function hostileBytes(prng: Prng): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0, 0, 0, prng.below(20) === 0 ? prng.below(256) : 3)];
  if (prng.below(2) === 0) {
    parts.push(optionBytes(nbd.NBD_OPT_STRUCTURED_REPLY, new Uint8Array(0)));
    const context = contextData('hostile', ['base:allocation']);
    parts.push(optionBytes(nbd.NBD_OPT_SET_META_CONTEXT, context));
  }
  for (let i = prng.below(4); i > 0; i--) parts.push(someOption(prng));
  if (prng.below(4) > 0) parts.push(optionBytes(nbd.NBD_OPT_GO, infoData('hostile', [])));
  for (let i = prng.below(12); i > 0; i--) parts.push(...someRequest(prng));
  const bytes = new Uint8Array(Buffer.concat(parts));
  for (let i = prng.below(4); i > 0; i--) mutate(bytes, prng);
  return bytes.subarray(0, prng.below(3) === 0 ? prng.below(bytes.length) : bytes.length);
}

function mutate(bytes: Uint8Array, prng: Prng): void {
  // Mostly early, where what is said matters.
  const at = prng.below(prng.below(2) === 0 ? bytes.length : Math.min(bytes.length, 300));
  const random = prng.below(256);
  const byte = random === SECRET_BYTE || random === SPOILT_BYTE ? 0 : random;
  if (prng.below(3) > 0) bytes[at] = byte;
  else bytes.subarray(at, at + prng.below(64)).fill(byte);
}

test('hostile bytes harm nobody else, show nothing, and leave nothing', async () => {
  const world = new FakeWorld(SEED);
  const runtime = world.runtime();
  const make = (name: string, byte: number): MemoryBackend => {
    const backend = new MemoryBackend(runtime.timers, { bytes: BYTES, name, isSparse: false });
    backend.fill(0, new Uint8Array(BYTES).fill(byte));
    backend.lateMs = () => world.prng.fraction();
    return backend;
  };
  const [hostile, secret] = [make('hostile', HOSTILE_BYTE), make('secret', SECRET_BYTE)];
  const door = new NbdDoor({ runtime, exports: new MemoryExports(hostile, secret) });
  await door.listen(ADDRESS);
  const bystander = await settle(world, NbdClient.connect(runtime.network, ADDRESS));
  await settle(world, bystander.structured());
  await settle(world, bystander.go('secret'));
  let answered = 0;
  let ended = 0;
  for (let run = 0; run < RUNS / 40; run++) {
    const prng = new Prng(SEED * 100_000 + run);
    const eve = new Eavesdropper();
    const bytes = hostileBytes(prng);
    eve.stream = await settle(world, runtime.network.connect(ADDRESS, eve, 1_000));
    // Who asks for the other export by its name may be shown it.
    const mayKnow = Buffer.from(bytes).includes('secret');
    const cut = prng.below(bytes.length + 1);
    eve.send(bytes.subarray(0, cut));
    await world.run(() => false, prng.fraction());
    eve.send(bytes.subarray(cut));
    const read = bystander.read(prng.below(1000), 20_000);
    expect((await settle(world, read)).error).toBe(0);
    await world.run(() => eve.isClosed, 5);
    if (!mayKnow) expect([run, eve.leaks]).toEqual([run, 0]);
    expect(door.pool.taken).toBeLessThanOrEqual(2 * NBD_LIMITS.bufferBytes);
    if (eve.isClosed) ended++;
    else answered++;
    eve.stream.close('done');
    world.streams.length = 0;
  }
  await world.run(() => door.sessions === 1, 10_000);
  expect([door.sessions, door.pool.taken, bystander.violation]).toEqual([1, 0, undefined]);
  expect(ended).toBeGreaterThan(RUNS / 400);
  expect(answered).toBeGreaterThan(RUNS / 400);
});

async function settle<T>(world: FakeWorld, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  void promise.finally(() => (isSettled = true)).catch(() => undefined);
  expect(await world.run(() => isSettled, 10_000)).toBe(true);
  return promise;
}

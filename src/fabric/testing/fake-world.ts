/**
 * A small world for the fabric's own tests: virtual time, and streams that can be cut after any
 * byte, corrupted, stalled or squeezed. The simulated rack is richer; this one is exact.
 */

import { assert, defined } from '../../base/assert.js';
import { copyWords } from '../../base/copy-words.js';
import { crc32c } from '../../base/crc32c.js';
import { Prng } from '../../base/prng.js';
import type { Timer } from '../../runtime/clock.js';
import {
  type Address,
  type Bytes,
  type Listener,
  NetworkError,
  type Stream,
  type StreamHandler,
  STREAM_INPUT_BYTES_MAX,
  STREAM_OUTPUT_BYTES,
} from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';

/** From the one that connected, or to it. */
export type Direction = 'up' | 'down';

/** What happens to bytes on their way; connections are numbered from 0 in the order made. */
export interface Wire {
  /**
   * How many of `bytes` more may pass, `passed` having passed before; with fewer the connection is
   * lost there, for both ends, with everything still under way.
   */
  cut?(connection: number, direction: Direction, passed: number, bytes: number): number;
  /** May change bytes that pass. */
  touch?(connection: number, direction: Direction, passed: number, bytes: Uint8Array): void;
  /** Bytes vanish, and nobody is told. */
  isSilent?(connection: number, direction: Direction): boolean;
  /** How many bytes arrive at once at most. */
  chunk?(): number;
}

const LATENCY_MS = 0.01;

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
  isCancelled: boolean;
}

export class FakeWorld {
  nowMs = 1000;
  wire: Wire = {};
  /** Bytes of a stream's output buffer. */
  outputBytes = STREAM_OUTPUT_BYTES;
  /** Bytes of its input buffer. */
  inputBytes = 2 * STREAM_INPUT_BYTES_MAX;
  connections = 0;
  /** Of each connection, where it went. */
  readonly addresses: Address[] = [];
  readonly streams: FakeStream[] = [];
  readonly prng: Prng;
  #events: Event[] = [];
  #soon: (() => void)[] = [];
  #order = 0;
  readonly #listeners = new Map<Address, (stream: Stream) => StreamHandler>();

  constructor(seed = 1) {
    this.prng = new Prng(seed);
  }

  after(ms: number, run: () => void): Timer {
    const event = { atMs: this.nowMs + ms, order: this.#order++, run, isCancelled: false };
    this.#events.push(event);
    return { cancel: () => void (event.isCancelled = true) };
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  /** Lets time pass until `until` holds, or until `forMs` are over. */
  async run(until: () => boolean, forMs = 60_000): Promise<boolean> {
    const end = this.nowMs + forMs;
    for (;;) {
      await this.#settle();
      if (until()) return true;
      const event = this.#takeNext(end);
      if (event === undefined) {
        this.nowMs = end;
        return false;
      }
      this.nowMs = Math.max(this.nowMs, event.atMs);
      event.run();
    }
  }

  /** Promises, and what wants to run soon, until nothing is left of either. */
  async #settle(): Promise<void> {
    for (;;) {
      for (let i = 0; i < 8; i++) await null;
      if (this.#soon.length === 0) return;
      const running = this.#soon;
      this.#soon = [];
      for (const run of running) run();
    }
  }

  #takeNext(endMs: number): Event | undefined {
    this.#events = this.#events.filter((event) => !event.isCancelled);
    let next: Event | undefined;
    for (const event of this.#events) {
      const isEarlier =
        next === undefined ||
        event.atMs < next.atMs ||
        (event.atMs === next.atMs && event.order < next.order);
      if (isEarlier) next = event;
    }
    if (next === undefined || next.atMs > endMs) return undefined;
    this.#events.splice(this.#events.indexOf(next), 1);
    return next;
  }

  /** The part of a runtime that the fabric uses. */
  runtime(): Runtime {
    const prng = this.prng;
    const runtime: Partial<Runtime> = {
      clock: { now: () => this.nowMs, wall: () => this.nowMs },
      timers: {
        after: (ms, callback) => this.after(ms, callback),
        soon: (callback) => this.soon(callback),
      },
      entropy: {
        u32: () => prng.u32(),
        u53: () => prng.u53() || 1,
        fraction: () => prng.fraction(),
      },
      checksum: { crc32c },
      log: { write: () => undefined },
      memory: {
        create: refuse,
        adopt: refuse,
        nameOf: refuse,
        open: refuse,
        runNow: refuse,
        run: refuse,
        meanwhile: () => undefined,
        available: () => 0,
        room: refuse,
        copy: (target, targetStart, source, sourceStart, bytes) =>
          target.set(source.subarray(sourceStart, sourceStart + bytes), targetStart),
        copyWords,
      },
      network: {
        bind: refuse,
        ownAddress: refuse,
        lookUp: (address) => Promise.resolve([address]),
        listen: (address, accept) => this.#listen(address, accept),
        connect: (address, handler) => this.#connect(address, handler),
      },
    };
    return runtime as Runtime;
  }

  #listen(address: Address, accept: (stream: Stream) => StreamHandler): Promise<Listener> {
    this.#listeners.set(address, accept);
    const close = async () => void this.#listeners.delete(address);
    return Promise.resolve({ address, close });
  }

  #connect(address: Address, handler: StreamHandler): Promise<Stream> {
    return new Promise((resolve, reject) => {
      this.after(LATENCY_MS, () => {
        const accept = this.#listeners.get(address);
        if (accept === undefined) {
          reject(new NetworkError('refused', `nobody listens at ${address}`));
          return;
        }
        const number = this.connections++;
        this.addresses.push(address);
        const up = new FakeStream(this, number, 'up');
        const down = new FakeStream(this, number, 'down');
        up.attach(down, handler);
        down.attach(up, undefined);
        down.attach(up, accept(down));
        this.streams.push(up, down);
        resolve(up);
      });
    });
  }

  /** Loses every connection that is there. */
  cutAll(): void {
    for (const stream of this.streams) stream.lose('cut');
  }
}

function refuse(): never {
  throw new Error('the fake world has no such thing');
}

function views(bytes: number): Bytes {
  const buffer = new ArrayBuffer(bytes);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

export class FakeStream implements Stream {
  readonly remote: Address;
  readonly output: Bytes;
  readonly #world: FakeWorld;
  readonly #number: number;
  readonly #direction: Direction;
  #peer!: FakeStream;
  #handler: StreamHandler | undefined;
  #isOpen = true;
  #isPaused = false;
  #isWanting = false;
  #head = 0;
  #tail = 0;
  #reserved = 0;
  #isSending = false;
  #passed = 0;
  readonly #input: Bytes;
  #start = 0;
  #end = 0;

  constructor(world: FakeWorld, number: number, direction: Direction) {
    this.#world = world;
    this.#number = number;
    this.#direction = direction;
    this.remote = `fake:${number}:${direction}`;
    this.output = views(world.outputBytes);
    this.#input = views(world.inputBytes);
  }

  attach(peer: FakeStream, handler: StreamHandler | undefined): void {
    this.#peer = peer;
    this.#handler = handler;
  }

  get pending(): number {
    return this.#tail - this.#head;
  }

  reserve(bytes: number): number {
    assert(bytes % 8 === 0 && bytes <= 256 * 1024);
    if (!this.#isOpen) return -1;
    if (this.#tail + bytes > this.output.bytes.length) {
      this.output.bytes.copyWithin(0, this.#head, this.#tail);
      this.#tail -= this.#head;
      this.#head = 0;
    }
    if (this.#tail + bytes > this.output.bytes.length) {
      this.#isWanting = true;
      return -1;
    }
    this.#reserved = bytes;
    return this.#tail;
  }

  commit(bytes: number): void {
    assert(bytes >= 0 && bytes <= this.#reserved);
    this.#reserved = 0;
    if (this.#isOpen) this.#tail += bytes;
  }

  flush(): void {
    if (this.#isSending || this.pending === 0 || !this.#isOpen) return;
    this.#isSending = true;
    this.#world.after(LATENCY_MS, () => this.#pass());
  }

  /** Hands what is pending, or a chunk of it, to the other end. */
  #pass(): void {
    this.#isSending = false;
    const { wire } = this.#world;
    const room = this.#world.inputBytes - this.#peer.#end;
    const most = Math.min(this.pending, wire.chunk?.() ?? this.pending, room);
    if (!this.#isOpen) return;
    if (most === 0) {
      // The reader does not read: look again later.
      this.#isSending = true;
      this.#world.after(1, () => this.#pass());
      return;
    }
    const allowed = wire.cut?.(this.#number, this.#direction, this.#passed, most) ?? most;
    const bytes = this.output.bytes.slice(this.#head, this.#head + allowed);
    wire.touch?.(this.#number, this.#direction, this.#passed, bytes);
    this.#head += allowed;
    this.#passed += allowed;
    const isSilent = wire.isSilent?.(this.#number, this.#direction) === true;
    if (!isSilent) this.#peer.#arrive(bytes);
    if (allowed < most) {
      this.lose('connection reset');
      this.#peer.lose('connection reset');
      return;
    }
    this.#tellDrained();
    this.flush();
  }

  #tellDrained(): void {
    if (!this.#isWanting || this.pending * 2 > this.output.bytes.length) return;
    this.#isWanting = false;
    this.#world.after(0, () => {
      if (this.#isOpen) this.#handler?.drained(this);
    });
  }

  #arrive(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#input.bytes.set(bytes, this.#end);
    this.#end += bytes.length;
    this.#show();
  }

  #show(): void {
    if (!this.#isOpen || this.#isPaused || this.#start === this.#end) return;
    const taken = defined(this.#handler).received(this, this.#input, this.#start, this.#end);
    assert(taken >= 0 && taken <= this.#end - this.#start);
    this.#start += taken;
    this.#input.bytes.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    assert(this.#end < this.#world.inputBytes / 2 || this.#isPaused || !this.#isOpen);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#world.after(0, () => this.#show());
  }

  expect(): void {}

  close(reason: string): void {
    if (!this.#isOpen) return;
    const last = this.output.bytes.slice(this.#head, this.#tail);
    this.lose(reason);
    this.#world.after(LATENCY_MS, () => {
      const allowed = this.#world.wire.cut?.(
        this.#number,
        this.#direction,
        this.#passed,
        last.length,
      );
      const isSilent = this.#world.wire.isSilent?.(this.#number, this.#direction) === true;
      // The end of the stream is no more heard than the bytes before it.
      if (isSilent) return;
      this.#peer.#arrive(last.subarray(0, allowed ?? last.length));
      this.#peer.lose('closed by the other side');
    });
  }

  /** The end, as the user is told of it. */
  lose(reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#world.after(0, () => this.#handler?.closed(this, reason));
  }
}

/**
 * Serves one thread that blocks, on the I/O thread: takes its requests from the ring, makes them as
 * operations of the space, and tells it how they ended. Looks after the thread's slots as well.
 */

import { Status } from '../../base/status.js';
import { utf8Bytes, writeUtf8 } from '../../base/utf8.js';
import { sleep } from '../../runtime/clock.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { RingConsumer } from '../../runtime/threads.js';
import type { MemorySharing } from '../connections.js';
import type { DataPath, ReadItem, WriteItem } from '../data-path.js';
import { closed, failed, MemrackError } from '../error.js';
import { fenceOver } from '../fence.js';
import type { RegionMap } from '../region-map.js';
import {
  Ask,
  type BlockingStart,
  BUSY,
  CLOSED,
  DONE,
  HIGH,
  ITEM_WORDS,
  ITEMS_MAX,
  joined,
  LOW,
  OUTCOME,
  OUTCOMES,
  Port,
  portBytes,
  PRESENCE,
  Presence,
  REQUESTS,
  STATUS,
  TEXT_BYTES,
  TEXT_LENGTH,
  VERSION,
} from './port.js';
import { Seats } from './seats.js';

/** The ports that this thread serves. */
const served = new WeakSet<BlockingStart['shared']>();

/** Whether this thread is the one that would have to answer: it cannot, while it is blocked. */
export function isServedHere(start: BlockingStart): boolean {
  return served.has(start?.shared);
}

/** A step takes microseconds; a thread that is in one for longer is stopped. */
const STEP_MS_MAX = 100;
const LOOK_MS = 1;
const TEXT_CHARACTERS_MAX = 1000;

export interface ServiceParts {
  readonly runtime: Runtime;
  /** With barriers of its own: what fails is told to the thread, and to nobody else. */
  readonly path: DataPath;
  readonly regions: RegionMap;
  readonly sharing: MemorySharing | undefined;
  readonly name: string;
  readonly id: number;
  readonly pageBytes: number;
  readonly timeoutMs: number;
  readonly bytes: number;
  /** Nothing more comes from the thread. */
  readonly left: () => void;
}

export class BlockingService {
  /** For `joinBlocking`, in the one thread that it is handed to. */
  readonly start: BlockingStart;
  readonly #parts: ServiceParts;
  readonly #port: Port;
  readonly #words: Int32Array;
  readonly #requests: RingConsumer;
  readonly #record = new Int32Array(REQUESTS.recordWords);
  readonly #seats: Seats;
  #isClosed = false;
  #ended: Promise<void> | undefined;

  constructor(parts: ServiceParts) {
    const { runtime, name, id, pageBytes, timeoutMs, bytes, sharing } = parts;
    const { threads } = runtime;
    const shared = threads.share(portBytes(bytes));
    this.start = { shared, bytes, space: name, spaceId: id, pageBytes, timeoutMs };
    served.add(shared);
    this.#parts = parts;
    this.#port = new Port(shared, bytes);
    this.#words = this.#port.words;
    this.#seats = new Seats({ runtime, sharing, changed: () => this.#raiseVersion() });
    this.#raiseVersion();
    this.#requests = threads.consumer(shared, this.#port.ringAt, REQUESTS);
    this.#requests.listen(() => this.#take());
  }

  /**
   * To be called when the thread has certainly ended, however it did, and not before: its slots are
   * given back, also where it was ended in the middle of an operation. Idempotent, and may be
   * passed on as it is: `worker.once('exit', port.ended)`.
   */
  readonly ended = (): Promise<void> => {
    this.#ended ??= this.#end();
    return this.#ended;
  };

  /** The thread's operations fail with `Closed` from now on. Resolves when its slots are back. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return this.#ended;
    this.#isClosed = true;
    Atomics.store(this.#words, VERSION, CLOSED);
    // The thread says that it is busy before it looks at the version: idle now is idle for ever.
    for (let ms = 0; Atomics.load(this.#words, BUSY) !== 0; ms += LOOK_MS) {
      if (this.#ended !== undefined) return this.#ended;
      // Stopped, or ended without a word: the nodes keep the slots until the process ends.
      if (ms >= STEP_MS_MAX) return;
      await sleep(this.#parts.runtime.timers, LOOK_MS);
    }
    await this.#seats.end();
  }

  #end(): Promise<void> {
    this.#isClosed = true;
    Atomics.store(this.#words, VERSION, CLOSED);
    this.#requests.close();
    this.#parts.left();
    return this.#seats.end();
  }

  #raiseVersion(): void {
    if (this.#isClosed) return;
    const next = (Atomics.load(this.#words, VERSION) + 1) | 0;
    Atomics.store(this.#words, VERSION, next === CLOSED ? 1 : next);
  }

  // -------------------------------------------------------------------------------- requests

  #take(): void {
    const record = this.#record;
    while (this.#ended === undefined && this.#requests.take(record)) {
      const [kind = 0, number = 0] = record;
      if (kind === Ask.Leave) void this.ended();
      else if (this.#isClosed) this.#fail(number, closed('the space was closed'));
      else if (kind === Ask.Route) this.#route(number, record[2] as number);
      else if (kind === Ask.Unusable) this.#unusable(number, record[2] as number, record[3] ?? 0);
      else this.#operate(kind, number);
    }
  }

  #operate(kind: number, number: number): void {
    const running = kind === Ask.Settle ? this.#settle() : this.#access(kind);
    running.then(
      (value) => this.#done(number, value),
      (error: unknown) => this.#fail(number, error),
    );
  }

  #access(kind: number): Promise<unknown> {
    const { path } = this.#parts;
    const words = this.#record;
    if (kind === Ask.Read || kind === Ask.Write) return this.#transfer(kind, words[2] as number);
    const at = joined(words[2] as number, words[3] as number);
    const first = wide(words[4] as number, words[5] as number);
    if (kind === Ask.FetchAndAdd) return path.fetchAndAdd(at, first);
    return path.compareAndSwap(at, first, wide(words[6] as number, words[7] as number));
  }

  #transfer(kind: number, count: number): Promise<unknown> {
    const { path } = this.#parts;
    const [first, ...more] = this.#items(Math.min(count, ITEMS_MAX));
    if (first === undefined) return Promise.resolve();
    const { at, bytes } = first;
    if (more.length === 0) return kind === Ask.Read ? path.read(at, bytes) : path.write(at, bytes);
    const items = [first, ...more];
    if (kind === Ask.Read) {
      return path.readMany(items.map((item): ReadItem => ({ at: item.at, into: item.bytes })));
    }
    return path.writeMany(items.map((item): WriteItem => ({ at: item.at, from: item.bytes })));
  }

  #items(count: number): { at: number; bytes: Uint8Array }[] {
    const { items } = this.#port;
    return Array.from({ length: count }, (_, i) => {
      const [low = 0, high = 0, bytes = 0, start = 0] = items.subarray(i * ITEM_WORDS);
      return { at: joined(low, high), bytes: this.#port.dataView(start, bytes) };
    });
  }

  /** What was told as unknown may still be executed; behind a fence it is not, any more. */
  async #settle(): Promise<void> {
    const { runtime, regions, timeoutMs } = this.#parts;
    const deadline = runtime.clock.now() + timeoutMs;
    const links = [...regions.connections()].map(({ link }) => link);
    for (const status of await Promise.all(links.map((link) => fenceOver(link, deadline)))) {
      if (status !== Status.Ok) throw failed('fence of a thread that blocks', status);
    }
  }

  #route(number: number, region: number): void {
    const { regions, runtime, timeoutMs } = this.#parts;
    const route = regions.ready(region);
    if (route?.window === undefined) {
      const deadline = runtime.clock.now() + timeoutMs;
      void regions.prepare(region, region, deadline).then((status) => {
        if (status === Status.Ok) this.#raiseVersion();
      });
      this.#done(number, undefined);
      return;
    }
    const { id, epoch } = route.window;
    const facts = this.#seats.at(route.connection);
    const text = facts === undefined ? '' : JSON.stringify({ ...facts, window: { id, epoch } });
    this.#tell(number, Status.Ok, 'applied', text);
  }

  #unusable(number: number, seat: number, taking: number): void {
    this.#seats.unusable(seat, taking);
    this.#done(number, undefined);
  }

  // --------------------------------------------------------------------------------- answers

  #done(number: number, value: unknown): void {
    const old = typeof value === 'bigint' ? value : 0n;
    this.#words[LOW] = Number(old & 0xffffffffn);
    this.#words[HIGH] = Number(old >> 32n);
    this.#tell(number, Status.Ok, 'applied', '');
  }

  #fail(number: number, cause: unknown): void {
    const error =
      cause instanceof MemrackError ? cause : new MemrackError('OutcomeUnknown', String(cause));
    const { code, outcome, message } = error;
    // Before the thread goes on: what it does next must not overtake this.
    if (outcome === 'unknown') this.#seats.doubt();
    this.#tell(number, Status[code], outcome, message.slice(0, TEXT_CHARACTERS_MAX));
  }

  #tell(number: number, status: Status, outcome: MemrackError['outcome'], text: string): void {
    const words = this.#words;
    const isText = utf8Bytes(text) >= 0 && utf8Bytes(text) <= TEXT_BYTES;
    words[STATUS] = status;
    words[OUTCOME] = OUTCOMES.indexOf(outcome);
    words[TEXT_LENGTH] = isText ? writeUtf8(this.#port.text, 0, text) : 0;
    Atomics.store(words, DONE, number);
    this.#parts.runtime.threads.unblock(words, DONE);
    // It went away while it waited for this, and could not say so.
    if (Atomics.load(words, PRESENCE) === Presence.Left) void this.ended();
  }
}

function wide(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

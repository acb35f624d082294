/**
 * The thread's end of the port: asks the I/O thread for one thing at a time and is blocked until it
 * is answered. Waiting ends in time also where the I/O thread is stopped; then nothing more is
 * asked until it has answered, because the port is still in use.
 */

import { assert } from '../../base/assert.js';
import { Status, statusName } from '../../base/status.js';
import { readUtf8 } from '../../base/utf8.js';
import type { Clock } from '../../runtime/clock.js';
import type { RingProducer, Threads } from '../../runtime/threads.js';
import { closed, MemrackError } from '../error.js';
import {
  type Ask,
  type BlockingStart,
  CLOSED,
  DONE,
  HIGH,
  LOW,
  OUTCOME,
  OUTCOMES,
  Port,
  portBytes,
  REQUESTS,
  STATUS,
  TEXT_LENGTH,
  VERSION,
} from './port.js';

/** The I/O thread tells the end of an operation when its time is over; this much later at most. */
const MARGIN_MS = 1_000;
const STOPPED_REMEDY = 'the I/O thread of this process does not answer: see what keeps it busy';

export class Channel {
  readonly port: Port;
  readonly words: Int32Array;
  /** Requests so far. */
  asked = 0;
  readonly #threads: Threads;
  readonly #clock: Clock;
  readonly #ring: RingProducer;
  readonly #record = new Int32Array(REQUESTS.recordWords);
  readonly #waitMs: number;
  readonly #space: string;
  /** Number of the last request, which was answered unless waiting for it was given up. */
  #number = 0;

  constructor(threads: Threads, clock: Clock, start: BlockingStart) {
    const { shared, bytes, timeoutMs, space } = start;
    assert(shared.byteLength === portBytes(bytes), 'a port of another size');
    this.port = new Port(shared, bytes);
    assert(threads.ringBytes(REQUESTS) <= this.port.text.byteOffset - this.port.ringAt);
    this.words = this.port.words;
    this.#threads = threads;
    this.#clock = clock;
    this.#ring = threads.producer(shared, this.port.ringAt, REQUESTS);
    this.#waitMs = timeoutMs + MARGIN_MS;
    this.#space = space;
  }

  get version(): number {
    return Atomics.load(this.words, VERSION);
  }

  /** Whether the I/O thread has answered everything. */
  get isClear(): boolean {
    return Atomics.load(this.words, DONE) === this.#number;
  }

  /** To be called before anything is put into the port. */
  prepare(what: string): void {
    if (!this.isClear) {
      const endMs = this.#clock.now() + this.#waitMs;
      while (!this.isClear) {
        const leftMs = endMs - this.#clock.now();
        const done = Atomics.load(this.words, DONE);
        if (leftMs > 0 && done !== this.#number) {
          this.#threads.block(this.words, DONE, done, leftMs);
        } else if (done !== this.#number) {
          throw new MemrackError('Unavailable', this.#name(what), { remedy: STOPPED_REMEDY });
        }
      }
    }
    if (this.version === CLOSED) throw closed(this.#name(what));
  }

  /** Asks, and waits for the answer; false: there was none in time. */
  ask(kind: (typeof Ask)[keyof typeof Ask], a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): boolean {
    this.send(kind, a, b, c, d, e, f);
    const before = (this.#number - 1) | 0;
    return this.#threads.block(this.words, DONE, before, this.#waitMs);
  }

  /** Asks for what needs no answer. */
  send(kind: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): void {
    assert(this.isClear, 'a port is used for two requests');
    this.#number = (this.#number + 1) | 0;
    this.asked += 1;
    const record = this.#record;
    record[0] = kind;
    record[1] = this.#number;
    record[2] = a;
    record[3] = b;
    record[4] = c;
    record[5] = d;
    record[6] = e;
    record[7] = f;
    const isIn = this.#ring.submit(record);
    assert(isIn, 'a ring of requests is full');
    this.#ring.ring();
  }

  get text(): string {
    const { text } = this.port;
    return readUtf8(text, 0, this.words[TEXT_LENGTH] as number) ?? '';
  }

  get oldValue(): bigint {
    const high = (this.words[HIGH] as number) >>> 0;
    const low = (this.words[LOW] as number) >>> 0;
    return high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low);
  }

  /** The failure that was answered; undefined: there was none. */
  failure(what: string): MemrackError | undefined {
    const status = this.words[STATUS] as number;
    if (status === Status.Ok) return undefined;
    const code = statusName(status);
    assert(code !== undefined && code !== 'Ok', 'an answer of no known status');
    const outcome = OUTCOMES[this.words[OUTCOME] as number];
    const text = this.text;
    const said = text === '' ? this.#name(what) : text;
    return new MemrackError(code, said, { outcome, ...(text === '' ? {} : { remedy: '' }) });
  }

  /** There was no answer in time: what was asked for may still be done. */
  unanswered(what: string, changes: boolean): MemrackError {
    const code = changes ? 'OutcomeUnknown' : 'Timeout';
    return new MemrackError(code, this.#name(what), { remedy: STOPPED_REMEDY });
  }

  #name(what: string): string {
    return `${what} in space ${this.#space}`;
  }
}

/**
 * What a node remembers of one connection, so that a client that lost it learns what was executed:
 * the last sequence, and the results of the last writes, atomics and calls. Results of operations
 * that can be repeated (reads, fences, queries) are not kept.
 */

import type { Fields } from '../wire/struct.js';
import { IN_FLIGHT_MAX, RECORD_BODY_BYTES_MAX, RECORD_RESULTS } from '../wire/limits.js';
import type { MissedResult } from '../wire/messages.js';

/** Sequence; type and status; low; high. */
const WORDS = 4;
const MASK = RECORD_RESULTS - 1;
const NO_BODY = new Uint8Array(0);

export class ResultRecord {
  readonly connection: number;
  /** The last sequence that was executed. */
  executed = 0;
  readonly #results = new Int32Array(RECORD_RESULTS * WORDS);
  /** Reply bodies of calls by sequence, oldest first. */
  readonly #bodies = new Map<number, Uint8Array>();
  #bodyBytes = 0;

  constructor(connection: number) {
    this.connection = connection;
    // A number that never stands in its place: sequences pass 0 when they wrap.
    for (let i = 0; i < RECORD_RESULTS; i++) this.#results[i * WORDS] = i + 1;
  }

  note(sequence: number, type: number, status: number, low: number, high: number): void {
    const results = this.#results;
    const at = (sequence & MASK) * WORDS;
    results[at] = sequence;
    results[at + 1] = type | (status << 16);
    results[at + 2] = low;
    results[at + 3] = high;
  }

  /** `body` is kept, as long as there is room. */
  noteCall(sequence: number, type: number, status: number, body: Uint8Array): void {
    this.note(sequence, type, status, 0, 0);
    if (body.length > RECORD_BODY_BYTES_MAX) return;
    for (const [old, kept] of this.#bodies) {
      // No more are in flight: whoever sends this one has had the reply to that one.
      const isAnswered = ((sequence - old) | 0) >= IN_FLIGHT_MAX;
      if (!isAnswered && this.#bodyBytes + body.length <= RECORD_BODY_BYTES_MAX) break;
      this.#bodies.delete(old);
      this.#bodyBytes -= kept.length;
    }
    this.#bodies.set(sequence, body);
    this.#bodyBytes += body.length;
  }

  /** Of memory, as far as it is large. */
  get stateBytes(): number {
    return this.#results.byteLength + this.#bodyBytes;
  }

  /** Whether a client can have had the reply to `acknowledged`, and can have missed the rest. */
  covers(acknowledged: number): boolean {
    const missed = (this.executed - acknowledged) | 0;
    return missed >= 0 && missed <= RECORD_RESULTS;
  }

  /** The kept results after `acknowledged`, in order. */
  missedSince(acknowledged: number): Fields<typeof MissedResult>[] {
    const missed: Fields<typeof MissedResult>[] = [];
    const count = (this.executed - acknowledged) | 0;
    for (let i = 1; i <= count; i++) {
      const sequence = (acknowledged + i) >>> 0;
      const at = (sequence & MASK) * WORDS;
      if ((this.#results[at] as number) >>> 0 !== sequence) continue;
      const typeAndStatus = this.#results[at + 1] as number;
      const body = this.#bodies.get(sequence);
      missed.push({
        sequence,
        type: typeAndStatus & 0xff,
        status: typeAndStatus >>> 16,
        bodyKept: body === undefined ? 0 : 1,
        low: (this.#results[at + 2] as number) >>> 0,
        high: (this.#results[at + 3] as number) >>> 0,
        body: body ?? NO_BODY,
      });
    }
    return missed;
  }
}

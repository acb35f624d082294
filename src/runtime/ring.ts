/**
 * The words of a ring and the two ends that work on them; how a thread sleeps is each runtime's.
 *
 *   word 0            tail: records ever submitted, modulo 2^32     written by the producer
 *   word 16           head: records ever taken, modulo 2^32         written by the consumer
 *   word 17           sleep mark: 1 while the consumer sleeps       written by the consumer
 *   word 32 and on    the records, `records * recordWords` words    written by the producer
 *
 * The ends stand on cache lines of their own, so that they do not slow each other. A sleeping
 * consumer waits for the tail to change: it marks itself, looks at the tail once more and sleeps
 * only if nothing has come, so a producer that misses the mark has already been seen.
 */

import { assert } from '../base/assert.js';
import type { RingOptions, RingProducer, Shared } from './threads.js';

export const RING_TAIL_WORD = 0;
const HEAD_WORD = 16;
const SLEEP_WORD = 17;
const HEADER_WORDS = 32;
const WORD_BYTES = 4;
/** So that the distance of two wrapped counters is never ambiguous. */
const RECORDS_MAX = 2 ** 30;

export function ringBytes(options: RingOptions): number {
  const { records, recordWords } = options;
  assert(records > 0 && records <= RECORDS_MAX && (records & (records - 1)) === 0);
  assert(Number.isInteger(recordWords) && recordWords > 0);
  return (HEADER_WORDS + records * recordWords) * WORD_BYTES;
}

/** The ring's words, from `offset` on: what both ends are made over. */
function ringWords(shared: Shared, offset: number, options: RingOptions): Int32Array {
  const bytes = ringBytes(options);
  assert(offset % WORD_BYTES === 0 && offset + bytes <= shared.byteLength, 'ring out of bounds');
  return new Int32Array(shared, offset, bytes / WORD_BYTES);
}

export class RingWriter implements RingProducer {
  readonly words: Int32Array;
  readonly #records: number;
  readonly #recordWords: number;
  readonly #wake: (words: Int32Array) => void;
  #tail: number;
  /** The head as last seen: it only moves on, so there is at least this much room. */
  #headSeen: number;

  /** `wake` is called by `ring` when the consumer sleeps (it waits for `words[RING_TAIL_WORD]`). */
  constructor(
    shared: Shared,
    offset: number,
    options: RingOptions,
    wake: (words: Int32Array) => void,
  ) {
    this.words = ringWords(shared, offset, options);
    this.#records = options.records;
    this.#recordWords = options.recordWords;
    this.#wake = wake;
    this.#tail = Atomics.load(this.words, RING_TAIL_WORD);
    this.#headSeen = Atomics.load(this.words, HEAD_WORD);
  }

  submit(record: Int32Array): boolean {
    assert(record.length === this.#recordWords, 'record of a wrong length');
    const tail = this.#tail;
    if (((tail - this.#headSeen) | 0) >= this.#records && this.room() === 0) return false;
    const words = this.words;
    const length = this.#recordWords;
    const at = HEADER_WORDS + (tail & (this.#records - 1)) * length;
    for (let i = 0; i < length; i++) words[at + i] = record[i] as number;
    this.#tail = (tail + 1) | 0;
    Atomics.store(words, RING_TAIL_WORD, this.#tail);
    return true;
  }

  ring(): void {
    if (Atomics.load(this.words, SLEEP_WORD) !== 0) this.#wake(this.words);
  }

  room(): number {
    this.#headSeen = Atomics.load(this.words, HEAD_WORD);
    return this.#records - ((this.#tail - this.#headSeen) | 0);
  }
}

/** The consuming end without its ways to sleep. */
export class RingReader {
  readonly words: Int32Array;
  readonly #records: number;
  readonly #recordWords: number;
  #head: number;
  #tailSeen: number;

  constructor(shared: Shared, offset: number, options: RingOptions) {
    this.words = ringWords(shared, offset, options);
    this.#records = options.records;
    this.#recordWords = options.recordWords;
    this.#head = Atomics.load(this.words, HEAD_WORD);
    this.#tailSeen = this.#head;
  }

  take(into: Int32Array): boolean {
    assert(into.length === this.#recordWords, 'record of a wrong length');
    const head = this.#head;
    if (this.#tailSeen === head && this.waiting() === 0) return false;
    const words = this.words;
    const length = this.#recordWords;
    const at = HEADER_WORDS + (head & (this.#records - 1)) * length;
    for (let i = 0; i < length; i++) into[i] = words[at + i] as number;
    this.#head = (head + 1) | 0;
    Atomics.store(words, HEAD_WORD, this.#head);
    return true;
  }

  waiting(): number {
    this.#tailSeen = Atomics.load(this.words, RING_TAIL_WORD);
    const waiting = (this.#tailSeen - this.#head) | 0;
    assert(waiting >= 0 && waiting <= this.#records, 'a ring has two producers or two consumers');
    return waiting;
  }

  /**
   * Marks the consumer as asleep. Returns false, and leaves it awake, if a record is there. When
   * true the caller sleeps until `words[RING_TAIL_WORD]` differs from `tailSeen`, then calls
   * `markAwake`.
   */
  markAsleep(): boolean {
    Atomics.store(this.words, SLEEP_WORD, 1);
    if (this.waiting() === 0) return true;
    Atomics.store(this.words, SLEEP_WORD, 0);
    return false;
  }

  markAwake(): void {
    Atomics.store(this.words, SLEEP_WORD, 0);
  }

  get tailSeen(): number {
    return this.#tailSeen;
  }
}

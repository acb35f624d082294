/**
 * One side of a test of streams: sends the numbers 0, 1, 2 ... in pieces of random sizes, expects
 * the same of the other side, and pauses now and then. A word that is lost, doubled, moved or
 * changed is seen at once.
 */

import { Prng } from '../../../base/prng.js';
import type { Bytes, Stream, StreamHandler } from '../../network.js';

const PIECE_BYTES_MAX = 40_000;
const LARGE_PIECE_BYTES = 256 * 1024;
const WORDS_PER_TURN = 100_000;

export interface Wanted {
  readonly seed: number;
  /** To be sent, and to be received; infinite for one that goes on. */
  readonly words: number;
  /** Whether it pauses now and then, for a few milliseconds. */
  readonly pauses: boolean;
}

export class Words implements StreamHandler {
  sent = 0;
  received_ = 0;
  refusals = 0;
  drains = 0;
  /** What was wrong, or how the stream ended. */
  wrong = '';
  reason = '';
  readonly #wanted: Wanted;
  readonly #prng: Prng;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
    this.#prng = new Prng(wanted.seed);
  }

  get isDone(): boolean {
    return this.sent === this.#wanted.words && this.received_ === this.#wanted.words;
  }

  received(stream: Stream, input: Bytes, start: number, end: number): number {
    if (start % 8 !== 0 || this.reason !== '') this.wrong ||= 'unaligned, or received when closed';
    const whole = (end - start) & ~7;
    // Mostly all; what is left has to be asked for.
    const taken = this.#prng.below(4) > 0 ? whole : 8 * this.#prng.below(whole / 8 + 1);
    for (let at = start; at < start + taken; at += 4) {
      if (input.words[at >> 2] !== this.received_ % 2 ** 31) {
        this.wrong ||= `word ${this.received_} is ${input.words[at >> 2]}`;
      }
      this.received_ += 1;
    }
    const rests = this.#wanted.pauses && this.#prng.below(60) === 0;
    if (taken < whole || rests) this.#rest(stream, rests ? this.#prng.below(8) : 0);
    return taken;
  }

  #rest(stream: Stream, ms: number): void {
    stream.pause();
    if (ms === 0) setImmediate(() => stream.resume());
    else setTimeout(() => stream.resume(), ms);
  }

  drained(stream: Stream): void {
    this.drains += 1;
    this.push(stream);
  }

  closed(_stream: Stream, reason: string): void {
    this.reason = reason;
  }

  /** Sends until the output is full or, after some, until the event loop has come around. */
  push(stream: Stream): void {
    const until = Math.min(this.#wanted.words, this.sent + WORDS_PER_TURN);
    while (this.sent < until) {
      const isLarge = this.#prng.below(50) === 0;
      const most = isLarge ? LARGE_PIECE_BYTES : this.#prng.between(8, PIECE_BYTES_MAX);
      const left = (this.#wanted.words - this.sent) * 4;
      const bytes = Math.min(8 * this.#prng.between(1, most >> 3), left);
      const at = stream.reserve(bytes);
      if (at < 0) {
        this.refusals += 1;
        stream.flush();
        return;
      }
      for (let i = 0; i < bytes; i += 4) {
        stream.output.words[(at + i) >> 2] = this.sent % 2 ** 31;
        this.sent += 1;
      }
      stream.commit(bytes);
      if (this.#prng.below(3) > 0) stream.flush();
    }
    stream.flush();
    if (this.sent < this.#wanted.words) setImmediate(() => this.push(stream));
  }
}

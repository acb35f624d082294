/** One of our streams as a Duplex of node:stream, for what takes nothing else. */

import { Duplex } from 'node:stream';
import { type Stream, STREAM_RESERVE_BYTES_MAX, type StreamHandler } from '../network.js';

type Written = (error?: Error | null) => void;

/** What waits for room in the output. */
interface Unwritten {
  readonly chunk: Uint8Array;
  at: number;
  readonly written: Written;
}

export class StreamDuplex extends Duplex {
  /** To be told what happens to the stream. */
  readonly handler: StreamHandler = {
    received: (_stream, input, start, end) => this.#received(input.bytes, start, end),
    drained: () => this.#push(),
    closed: (_stream, reason) => this.#closed(reason),
  };
  readonly #plain: Stream;
  #isPaused = false;
  #unwritten: Unwritten | undefined;
  #closedBecause: string | undefined;

  constructor(plain: Stream) {
    super({ decodeStrings: true });
    this.#plain = plain;
  }

  #received(bytes: Uint8Array, start: number, end: number): number {
    // The bytes are ours during this call only.
    const isWanted =
      this.destroyed || this.push(Uint8Array.prototype.slice.call(bytes, start, end));
    if (!isWanted && !this.#isPaused) {
      this.#isPaused = true;
      this.#plain.pause();
    }
    return end - start;
  }

  override _read(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#plain.resume();
  }

  override _write(chunk: Uint8Array, _encoding: string, written: Written): void {
    this.#unwritten = { chunk, at: 0, written };
    this.#push();
  }

  #push(): void {
    const unwritten = this.#unwritten;
    if (unwritten === undefined) return;
    const { chunk, written } = unwritten;
    while (unwritten.at < chunk.length) {
      const bytes = Math.min(chunk.length - unwritten.at, STREAM_RESERVE_BYTES_MAX);
      const at = this.#closedBecause === undefined ? this.#plain.reserve((bytes + 7) & ~7) : -1;
      if (at < 0) break;
      this.#plain.output.bytes.set(chunk.subarray(unwritten.at, unwritten.at + bytes), at);
      this.#plain.commit(bytes);
      unwritten.at += bytes;
    }
    this.#plain.flush();
    if (unwritten.at < chunk.length && this.#closedBecause === undefined) return;
    this.#unwritten = undefined;
    written(this.#closedBecause === undefined ? null : new Error(this.#closedBecause));
  }

  #closed(reason: string): void {
    this.#closedBecause = reason;
    this.#push();
    // Behind everything that was received.
    if (!this.destroyed) this.push(null);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#closedBecause ??= 'closed';
    this.#unwritten = undefined;
    this.#plain.close(error?.message ?? 'closed');
    done(null);
  }
}

/** A narrow pipe: so many bytes a second, and a queue of limited length in front of it. */
import type { PipeCounts, PipeOptions } from './fault-proxy-control.js';

/** Of IPv4 and UDP. */
const HEADER_BYTES = 28;

export type Send<F> = (flow: F, bytes: Uint8Array, start: number, length: number) => void;

/** Not `slice`, which of a Buffer is no copy. */
export function copyOf(bytes: Uint8Array, start: number, length: number): Uint8Array {
  return new Uint8Array(bytes.subarray(start, start + length));
}

interface Queued<F> {
  readonly flow: F;
  readonly bytes: Uint8Array;
  readonly size: number;
  readonly since: number;
  /** When its last byte leaves the pipe. */
  readonly due: number;
}

export class NarrowPipe<F> {
  readonly #options: PipeOptions;
  readonly #send: Send<F>;
  #queue: Queued<F>[] = [];
  #head = 0;
  /** When the pipe has carried all that is in it. */
  #freeAt = 0;
  #waitMs = 0;
  #counts = noPipeCounts();

  constructor(options: PipeOptions, send: Send<F>) {
    this.#options = options;
    this.#send = send;
  }

  get counts(): PipeCounts {
    const { datagrams } = this.#counts;
    return { ...this.#counts, waitMsMean: datagrams === 0 ? 0 : this.#waitMs / datagrams };
  }

  /** Peaks and means begin anew; what is in the queue stays. */
  reset(): void {
    const { queueBytes } = this.#counts;
    this.#counts = { ...noPipeCounts(), queueBytes, queueBytesMost: queueBytes };
    this.#waitMs = 0;
  }

  /** The bytes are copied. */
  offer(flow: F, bytes: Uint8Array, start: number, length: number, now: number): void {
    const counts = this.#counts;
    const size = length + HEADER_BYTES;
    if (counts.queueBytes + size > this.#options.queueBytesMax) {
      counts.dropped++;
      return;
    }
    counts.queueBytes += size;
    counts.queueBytesMost = Math.max(counts.queueBytesMost, counts.queueBytes);
    this.#freeAt = Math.max(now, this.#freeAt) + (1000 * size) / this.#options.bytesPerSecond;
    const copy = copyOf(bytes, start, length);
    this.#queue.push({ flow, bytes: copy, size, since: now, due: this.#freeAt });
  }

  /** Sends what is through by now; returns when the next one will be, or Infinity. */
  run(now: number): number {
    const counts = this.#counts;
    let next = this.#queue[this.#head];
    while (next !== undefined && next.due <= now) {
      this.#head++;
      counts.queueBytes -= next.size;
      counts.datagrams++;
      counts.bytes += next.size;
      this.#waitMs += now - next.since;
      counts.waitMsMost = Math.max(counts.waitMsMost, now - next.since);
      this.#send(next.flow, next.bytes, 0, next.bytes.length);
      next = this.#queue[this.#head];
    }
    if (this.#head > 1024 || next === undefined) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return next?.due ?? Number.POSITIVE_INFINITY;
  }
}

function noPipeCounts(): PipeCounts {
  return {
    datagrams: 0,
    bytes: 0,
    dropped: 0,
    queueBytes: 0,
    queueBytesMost: 0,
    waitMsMean: 0,
    waitMsMost: 0,
  };
}

/**
 * What a stream costs between two processes: a lone round trip, many small requests in flight,
 * and chunks of 64 KiB. Its test runs it for moments, so that it cannot rot; for figures:
 *
 *   npx vitest run --project unit network.bench   with MEMRACK_BENCH_MS=2000
 */

import type { Stream } from '../network.js';
import type { Runtime } from '../runtime.js';

export const REQUEST_BYTES = 48;
export const REPLY_BYTES = 96;
export const CHUNK_BYTES = 64 * 1024;

export interface NetworkFigures {
  readonly loneUsMedian: number;
  readonly loneUs99: number;
  /** After both sides have slept. */
  readonly sleepyUsMedian: number;
  readonly pipelinedPerSecond: number;
  readonly chunkGbPerSecond: number;
}

/** Sends requests, by whatever way, and counts the replies. */
export interface Requests {
  readonly inFlight: number;
  readonly replies: number;
  /** Called after each batch of replies. */
  onReplies: () => void;
  /** False when no more can be sent just now. */
  request(bytes: number, replyBytes: number): boolean;
}

/** Sends requests to what `testing/requests.ts` serves. */
export class Requester implements Requests {
  readonly #runtime: Runtime;
  #stream: Stream | undefined;
  #inFlight = 0;
  #flushing = false;
  onReplies: () => void = () => {};
  replies = 0;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  async connect(address: string): Promise<void> {
    const connecting = this.#runtime.network.connect(
      address,
      {
        received: (stream, input, start, end) => {
          let at = start;
          while (end - at >= 8 && end - at >= (input.words[at >> 2] as number)) {
            at += input.words[at >> 2] as number;
            this.#inFlight--;
            this.replies++;
          }
          if (this.#inFlight === 0) stream.expect(false);
          this.onReplies();
          return at - start;
        },
        drained: () => this.onReplies(),
        closed() {},
      },
      1000,
    );
    this.#stream = await connecting;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  request(bytes: number, replyBytes: number): boolean {
    const stream = this.#stream as Stream;
    const at = stream.reserve(bytes);
    if (at < 0) return false;
    stream.output.words[at >> 2] = bytes;
    stream.output.words[(at >> 2) + 1] = replyBytes;
    stream.commit(bytes);
    this.#inFlight++;
    stream.expect(true);
    if (!this.#flushing) this.#runtime.timers.soon(this.#flush);
    this.#flushing = true;
    return true;
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    this.#stream?.flush();
  };

  close(): void {
    this.#stream?.close('measured');
  }
}

/** `ms` bounds each of the measurements. */
export async function measureNetwork(
  runtime: Runtime,
  address: string,
  ms: number,
): Promise<NetworkFigures> {
  const requester = new Requester(runtime);
  await requester.connect(address);
  const lone = await loneLatencies(runtime, requester, { ms, restMs: 0 });
  const sleepy = await loneLatencies(runtime, requester, { ms, restMs: 3 });
  const small = { window: 64, bytes: REQUEST_BYTES, replyBytes: REPLY_BYTES, ms };
  const pipelined = await rate(runtime, requester, small);
  const large = { window: 8, bytes: REQUEST_BYTES, replyBytes: CHUNK_BYTES, ms };
  const chunks = await rate(runtime, requester, large);
  requester.close();
  return {
    loneUsMedian: quantile(lone, 0.5),
    loneUs99: quantile(lone, 0.99),
    sleepyUsMedian: quantile(sleepy, 0.5),
    pipelinedPerSecond: pipelined,
    chunkGbPerSecond: (chunks * CHUNK_BYTES) / 1e9,
  };
}

/** In microseconds, sorted. */
export async function loneLatencies(
  runtime: Runtime,
  requester: Requests,
  { ms, restMs }: { ms: number; restMs: number },
): Promise<number[]> {
  const { clock, timers } = runtime;
  const latencies: number[] = [];
  const end = clock.now() + ms;
  while (clock.now() < end || latencies.length < 10) {
    if (restMs > 0) await new Promise<void>((resolve) => timers.after(restMs, resolve));
    const start = clock.now();
    await new Promise<void>((resolve) => {
      requester.onReplies = resolve;
      requester.request(REQUEST_BYTES, REPLY_BYTES);
    });
    latencies.push((clock.now() - start) * 1000);
  }
  // The first ones find cold code.
  return latencies.slice(latencies.length >> 2).sort((a, b) => a - b);
}

export interface Load {
  readonly window: number;
  readonly bytes: number;
  readonly replyBytes: number;
  readonly ms: number;
}

/** Replies per second with `window` requests in flight. */
export async function rate(runtime: Runtime, requester: Requests, load: Load): Promise<number> {
  const { clock } = runtime;
  const before = requester.replies;
  const start = clock.now();
  await new Promise<void>((resolve) => {
    requester.onReplies = () => {
      const isOver = clock.now() - start > load.ms;
      if (isOver && requester.inFlight === 0) resolve();
      if (isOver) return;
      while (requester.inFlight < load.window) {
        if (!requester.request(load.bytes, load.replyBytes)) break;
      }
    };
    requester.onReplies();
  });
  return ((requester.replies - before) / (clock.now() - start)) * 1000;
}

export function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.floor(sorted.length * part)] ?? Number.NaN;
}

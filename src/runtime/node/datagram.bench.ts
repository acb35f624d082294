/**
 * What datagrams cost between two processes, with one request in each or with as many as there are
 * and as it holds: a lone round trip, and many in flight. Its test runs it for moments beside a
 * stream; for figures:
 *
 *   npx vitest run --project unit datagram.bench   with MEMRACK_BENCH_MS=2000
 */

import type { DatagramBatch, DatagramSocket } from '../network.js';
import type { Runtime } from '../runtime.js';
import {
  loneLatencies,
  quantile,
  rate,
  REPLY_BYTES,
  REQUEST_BYTES,
  type Requests,
} from './network.bench.js';
import { PACKED_BYTES_MAX } from './testing/requests.js';

/** What is not answered in this time is lost. */
const LOST_MS = 100;

export interface RequestFigures {
  readonly loneUsMedian: number;
  readonly loneUs99: number;
  readonly sleepyUsMedian: number;
  readonly pipelinedPerSecond: number;
}

/** Sends requests to what `testing/requests.ts` serves. */
export class DatagramRequester implements Requests {
  readonly #runtime: Runtime;
  /** A datagram is longer than this only if one request is. */
  readonly #bytesMax: number;
  #at = 0;
  #filled = 0;
  #socket: DatagramSocket | undefined;
  #server: Uint8Array = new Uint8Array(0);
  #flushing = false;
  #closed = false;
  onReplies: () => void = () => {};
  replies = 0;
  inFlight = 0;
  lost = 0;

  constructor(runtime: Runtime, { packed }: { packed: boolean }) {
    this.#runtime = runtime;
    this.#bytesMax = packed ? PACKED_BYTES_MAX : 0;
  }

  async connect(address: string): Promise<void> {
    this.#socket = await this.#runtime.network.bind('udp://127.0.0.1:0', {
      received: (socket, batch) => {
        const count = countReplies(batch);
        // One that was taken for lost may still come.
        this.inFlight = Math.max(0, this.inFlight - count);
        this.replies += count;
        if (this.inFlight === 0) socket.expect(false);
        this.onReplies();
      },
    });
    this.#server = this.#socket.peerOf(address);
    this.#forgetLost(-1);
  }

  request(bytes: number, replyBytes: number): boolean {
    const socket = this.#socket as DatagramSocket;
    if (this.#filled + bytes > this.#bytesMax) this.#commit();
    if (this.#filled === 0) this.#at = socket.reserve(Math.max(bytes, this.#bytesMax));
    const at = this.#at + this.#filled;
    this.#filled += bytes;
    socket.output.words[at >> 2] = bytes;
    socket.output.words[(at >> 2) + 1] = replyBytes;
    this.inFlight++;
    socket.expect(true);
    if (!this.#flushing) this.#runtime.timers.soon(this.#flush);
    this.#flushing = true;
    return true;
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    this.#commit();
    this.#socket?.flush();
  };

  #commit(): void {
    if (this.#filled > 0) this.#socket?.commit(this.#filled, this.#server, 0);
    this.#filled = 0;
  }

  /** When no reply has come since the last look. */
  #forgetLost(repliesBefore: number): void {
    if (this.#closed) return;
    if (this.inFlight > 0 && this.replies === repliesBefore) {
      this.lost += this.inFlight;
      this.inFlight = 0;
      this.onReplies();
    }
    const { replies } = this;
    this.#runtime.timers.after(LOST_MS, () => this.#forgetLost(replies));
  }

  close(): void {
    this.#closed = true;
    this.#socket?.close();
  }
}

function countReplies({ input, count, starts, lengths }: DatagramBatch): number {
  let replies = 0;
  for (let i = 0; i < count; i++) {
    const end = (starts[i] as number) + (lengths[i] as number);
    for (let at = starts[i] as number; at < end; at += input.words[at >> 2] as number) replies++;
  }
  return replies;
}

/** `ms` bounds each of the measurements. */
export async function measureRequests(
  runtime: Runtime,
  requests: Requests,
  ms: number,
): Promise<RequestFigures> {
  const lone = await loneLatencies(runtime, requests, { ms, restMs: 0 });
  const sleepy = await loneLatencies(runtime, requests, { ms, restMs: 3 });
  const load = { window: 64, bytes: REQUEST_BYTES, replyBytes: REPLY_BYTES, ms };
  return {
    loneUsMedian: quantile(lone, 0.5),
    loneUs99: quantile(lone, 0.99),
    sleepyUsMedian: quantile(sleepy, 0.5),
    pipelinedPerSecond: await rate(runtime, requests, load),
  };
}

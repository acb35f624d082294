/**
 * What a datagram costs between two processes, with one request in each: a lone round trip, and
 * many in flight. Its test runs it for moments beside a stream; for figures:
 *
 *   npx vitest run --project unit datagram.bench   with MEMRACK_BENCH_MS=2000
 */

import type { DatagramSocket } from '../network.js';
import type { Runtime } from '../runtime.js';
import {
  loneLatencies,
  quantile,
  rate,
  REPLY_BYTES,
  REQUEST_BYTES,
  type Requests,
} from './network.bench.js';

/** What is not answered in this time is lost. */
const LOST_MS = 100;

export interface RequestFigures {
  readonly loneUsMedian: number;
  readonly loneUs99: number;
  readonly sleepyUsMedian: number;
  readonly pipelinedPerSecond: number;
}

/** Sends requests to what `testing/requests.ts` serves, each in a datagram of its own. */
export class DatagramRequester implements Requests {
  readonly #runtime: Runtime;
  #socket: DatagramSocket | undefined;
  #server: Uint8Array = new Uint8Array(0);
  #flushing = false;
  #closed = false;
  onReplies: () => void = () => {};
  replies = 0;
  inFlight = 0;
  lost = 0;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  async connect(address: string): Promise<void> {
    this.#socket = await this.#runtime.network.bind('udp://127.0.0.1:0', {
      received: (socket, batch) => {
        // One that was taken for lost may still come.
        this.inFlight = Math.max(0, this.inFlight - batch.count);
        this.replies += batch.count;
        if (this.inFlight === 0) socket.expect(false);
        this.onReplies();
      },
    });
    this.#server = this.#socket.peerOf(address);
    this.#forgetLost(-1);
  }

  request(bytes: number, replyBytes: number): boolean {
    const socket = this.#socket as DatagramSocket;
    const at = socket.reserve(bytes);
    socket.output.words[at >> 2] = bytes;
    socket.output.words[(at >> 2) + 1] = replyBytes;
    socket.commit(bytes, this.#server, 0);
    this.inFlight++;
    socket.expect(true);
    if (!this.#flushing) this.#runtime.timers.soon(this.#flush);
    this.#flushing = true;
    return true;
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    this.#socket?.flush();
  };

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

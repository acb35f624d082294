/**
 * A small model of a network for tests of congestion control: n senders that always have something
 * to send, one FIFO queue with a rate and a buffer, and a fixed delay. Time is simulated.
 */

import { Prng } from '../../../base/prng.js';
import { CongestionWindow } from '../congestion.js';
import { Delays } from '../delays.js';

export interface BottleneckOptions {
  readonly senders: number;
  readonly bytesPerMs: number;
  /** What does not fit into the queue is lost. */
  readonly bufferBytes: number;
  /** Round trip without a queue. */
  readonly baseMs: number;
  readonly datagramBytes?: number;
  /** Of a million: those that are lost on the way. */
  readonly lostPerMillion?: number;
  /** Of a million: answers that come late, by up to twice `noiseMs`. */
  readonly noisyPerMillion?: number;
  readonly noiseMs?: number;
  /** When sender i begins. */
  readonly startMs?: (sender: number) => number;
  /** Nothing leaves the queue before. */
  readonly stoppedUntilMs?: number;
  readonly seed?: number;
}

/** Waking up takes a while, and not always the same: without it senders would move in step. */
const WAKE_MS = 0.3;

/** The node's clock less that of the senders. */
const NODE_AHEAD_MS = 123_456;

const ARRIVAL = 0;
const TIME_OUT = 1;
const WAKE = 2;

interface Event {
  readonly at: number;
  readonly type: number;
  readonly sender: number;
  readonly sentAt: number;
  /** Of a datagram: answered or lost already. */
  readonly datagram: { isDone: boolean } | undefined;
}

/** Earliest first: a binary heap. */
class Agenda {
  readonly #events: Event[] = [];

  get isEmpty(): boolean {
    return this.#events.length === 0;
  }

  add(event: Event): void {
    const events = this.#events;
    let i = events.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if ((events[parent] as Event).at <= event.at) break;
      events.copyWithin(i, parent, parent + 1);
      i = parent;
    }
    events[i] = event;
  }

  next(): Event {
    const events = this.#events;
    const first = events[0] as Event;
    const last = events.pop() as Event;
    if (events.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= events.length) break;
      const other = events[child + 1];
      if (other !== undefined && other.at < (events[child] as Event).at) child++;
      if ((events[child] as Event).at >= last.at) break;
      events.copyWithin(i, child, child + 1);
      i = child;
    }
    events[i] = last;
    return first;
  }
}

export class Sender {
  readonly window: CongestionWindow;
  readonly delays = new Delays();
  readonly startMs: number;
  /** Bytes that were answered since `Bottleneck.measure`. */
  goodput = 0;
  wakeAt = Infinity;
  windowMin = Infinity;

  constructor(startMs: number, datagramBytes: number, prng: Prng) {
    this.startMs = startMs;
    this.window = new CongestionWindow({ fraction: () => prng.fraction(), datagramBytes });
  }
}

export class Bottleneck {
  now = 0;
  readonly senders: Sender[];
  readonly #options: BottleneckOptions;
  readonly #bytes: number;
  readonly #prng: Prng;
  readonly #agenda = new Agenda();
  #freeAt = 0;
  #measuredSince = 0;
  /** Queueing delays, in milliseconds, of what was sent since `measure`. */
  queueMs: number[] = [];
  overflows = 0;

  constructor(options: BottleneckOptions) {
    this.#options = options;
    this.#bytes = options.datagramBytes ?? 1514;
    this.#freeAt = options.stoppedUntilMs ?? 0;
    this.#prng = new Prng(options.seed ?? 1);
    this.senders = Array.from({ length: options.senders }, (_, i) => {
      const startMs = options.startMs?.(i) ?? this.#prng.fraction();
      this.#add(startMs, WAKE, i);
      return new Sender(startMs, this.#bytes, this.#prng.fork(`${i}`));
    });
  }

  /** Runs until `untilMs`. */
  run(untilMs: number): void {
    while (!this.#agenda.isEmpty && this.now < untilMs) {
      const event = this.#agenda.next();
      this.now = event.at;
      this.#happens(event);
    }
  }

  /** Forgets what was measured. */
  measure(): void {
    this.#measuredSince = this.now;
    this.queueMs = [];
    this.overflows = 0;
    for (const sender of this.senders) {
      sender.goodput = 0;
      sender.windowMin = Infinity;
    }
  }

  /** The part of the rate that was of use since `measure`. */
  get utilization(): number {
    const bytes = this.senders.reduce((sum, sender) => sum + sender.goodput, 0);
    return bytes / ((this.now - this.#measuredSince) * this.#options.bytesPerMs);
  }

  /** Jain's index of the goodput of these: 1 if all have the same, 1/n if one has all. */
  fairness(senders = this.senders): number {
    const sum = senders.reduce((total, { goodput }) => total + goodput, 0);
    const squares = senders.reduce((total, { goodput }) => total + goodput * goodput, 0);
    return (sum * sum) / (senders.length * squares);
  }

  /** A quantile of the queueing delays, in milliseconds. */
  queueQuantile(part: number): number {
    const sorted = [...this.queueMs].sort((a, b) => a - b);
    return sorted[Math.min(Math.floor(part * sorted.length), sorted.length - 1)] ?? 0;
  }

  #add(at: number, type: number, sender: number, sentAt = 0, datagram?: { isDone: boolean }): void {
    this.#agenda.add({ at, type, sender, sentAt, datagram });
  }

  #happens({ type, sender: i, sentAt, datagram }: Event): void {
    const sender = this.senders[i] as Sender;
    const { window } = sender;
    const ms = this.now - sentAt;
    if (type === WAKE) sender.wakeAt = Infinity;
    else if (type === ARRIVAL) {
      sender.delays.sample(ms);
      const nodeClock = Math.floor(sentAt + this.#options.baseMs / 2) + NODE_AHEAD_MS;
      window.delay(ms, 0, this.now, nodeClock);
      sender.goodput += this.#bytes;
      if (datagram?.isDone === false) window.ended(this.#bytes, this.now);
    } else {
      if (datagram?.isDone !== false) return;
      sender.delays.silent();
      window.lost(this.#bytes, this.now, sentAt);
    }
    if (datagram !== undefined) datagram.isDone = true;
    sender.windowMin = Math.min(sender.windowMin, window.window);
    this.#sendAll(sender, i);
  }

  #sendAll(sender: Sender, i: number): void {
    const { window } = sender;
    while (window.mayTake(this.#bytes, this.now)) {
      window.sent(this.#bytes, this.now);
      this.#send(sender, i);
    }
    const wait = window.waitMs(this.now);
    if (wait === Infinity || this.now + wait >= sender.wakeAt) return;
    sender.wakeAt = this.now + wait;
    this.#add(sender.wakeAt, WAKE, i);
  }

  #send(sender: Sender, i: number): void {
    const { bytesPerMs, bufferBytes, baseMs, noiseMs = 0 } = this.#options;
    const datagram = { isDone: false };
    this.#add(this.now + sender.delays.timeoutMs, TIME_OUT, i, this.now, datagram);
    const queueMs = Math.max(0, this.#freeAt - this.now);
    if (queueMs * bytesPerMs + this.#bytes > bufferBytes) {
      this.overflows++;
      return;
    }
    this.queueMs.push(queueMs);
    this.#freeAt = this.now + queueMs + this.#bytes / bytesPerMs;
    if (this.#prng.chance(this.#options.lostPerMillion ?? 0)) return;
    const isNoisy = this.#prng.chance(this.#options.noisyPerMillion ?? 0);
    const lateMs = (isNoisy ? 2 * noiseMs : WAKE_MS) * this.#prng.fraction();
    this.#add(this.#freeAt + baseMs + lateMs, ARRIVAL, i, this.now, datagram);
  }
}

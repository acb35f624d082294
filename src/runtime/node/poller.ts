/**
 * Polls descriptors for a moment instead of sleeping, because waking a sleeping thread costs 40 to
 * 50 microseconds and a poll 0.2.
 *
 *            heat()                              nothing for its patience, or no budget
 *   cold ------------------> hot  --------------------------------------------> cold
 *   libuv reads it           polled by FFI; libuv does not look                  (settle)
 *
 *   asleep --heat--> tick <----------> immediate --no stream hot--> asleep
 *                     |  one turn: run what was to be run soon, then poll until something
 *                     |  arrives. After each turn all promises settle; after SLICE_MS, or
 *                     |  when a turn found nothing, the event loop has a look at everything.
 *
 * How long a stream is worth polling it says itself (see `Patience`). Polling in vain is bounded
 * by a share of the CPU besides; waits that paid are free.
 */

import { Contention } from './contention.js';
import { addressOf, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN } from './system.js';
import { epollControl, epollCreate, epollWait, schedYield } from './system.js';
import { afterMicrotasks, type SoonQueue } from './soon.js';

export interface Polled {
  readonly fd: number;
  /** Kept by the poller: whether it is hot, and until when it is worth polling. */
  hot: boolean;
  pollUntil: number;
  /** In the poller's own epoll instance. */
  registered: boolean;
  /** Looks once, without blocking; true if anything was moved. */
  poll(): boolean;
  /** Is cold from now on: libuv takes over. */
  settle(): void;
  /** There are too many hot streams to ask each in turn: `poll` is called when input is there. */
  crowded(): void;
}

/** Something else that is cheap to look at, such as a ring between threads. */
export interface Source {
  /** Looks once; true if there was something. */
  look(): boolean;
  /** Nobody looks from now on: it has to wake this thread. */
  settle(): void;
}

export interface PollerOptions {
  /** The part of one CPU that waiting in vain may take, 0 to 1. */
  readonly share: number;
}

/** The event loop (timers, other sockets) waits no longer than this. */
const SLICE_MS = 0.2;
/** One turn that finds nothing. */
const IDLE_TURN_MS = 0.05;
/** A stream that is no longer worth polling stays hot so long while others are polled anyway. */
const LINGER_MS = 2;
const BUDGET_MS_MAX = 50;
/** Below this a new start would only flap. */
const BUDGET_MS_MIN = 1;
/** Up to so many hot streams one `recv` each is cheaper than asking epoll first. */
const DIRECT_STREAMS_MAX = 4;
/** So many polls without reading the clock: about a microsecond. */
const POLLS_PER_LOOK = 4;

const EVENTS_MAX = 64;
/** The kernel packs `struct epoll_event` on x86 only. */
const EVENT_WORDS = process.arch === 'x64' ? 3 : 4;
const EVENT_FD_WORD = process.arch === 'x64' ? 1 : 2;

export class Poller {
  readonly #soon: SoonQueue;
  readonly #share: number;
  readonly #hot: Polled[] = [];
  readonly #byFd: (Polled | undefined)[] = [];
  readonly #sources: Source[] = [];
  readonly #queueTick: () => void;
  #awake = false;
  #sliceStart = 0;
  /** Polling goes on at least until then. */
  #until = 0;
  #sourcesUntil = 0;
  #budgetMs = BUDGET_MS_MAX;
  #budgetAt = 0;
  #sweepAt = 0;
  readonly #contention = new Contention();
  #now = 0;
  #epoll = -1;
  readonly #events = new Int32Array(EVENTS_MAX * EVENT_WORDS);
  readonly #eventsAddress: number;
  /** The argument of epoll_ctl: apart, because streams turn hot while events are walked. */
  readonly #change = new Int32Array(EVENT_WORDS);
  readonly #changeAddress: number;

  constructor(soon: SoonQueue, options: PollerOptions) {
    this.#soon = soon;
    this.#share = options.share;
    this.#eventsAddress = addressOf(new Uint8Array(this.#events.buffer));
    this.#changeAddress = addressOf(new Uint8Array(this.#change.buffer));
    this.#queueTick = afterMicrotasks(this.#tick);
  }

  /** Polls `stream` until `pollUntil` at least; does nothing where polling is not allowed. */
  heat(stream: Polled, now: number): void {
    if (stream.pollUntil <= now || this.#share === 0) return;
    if (stream.pollUntil > this.#until) this.#until = stream.pollUntil;
    if (!stream.hot) {
      if (!this.#awake && !this.#affordable(now)) return;
      stream.hot = true;
      this.#hot.push(stream);
      if (this.crowded) this.#crowd();
    }
    this.#wake(now);
  }

  /** Takes a stream out without settling it. */
  remove(stream: Polled): void {
    this.#unregister(stream);
    if (!stream.hot) return;
    stream.hot = false;
    const at = this.#hot.indexOf(stream);
    const last = this.#hot.pop() as Polled;
    if (last !== stream) this.#hot[at] = last;
  }

  get crowded(): boolean {
    return this.#hot.length > DIRECT_STREAMS_MAX;
  }

  /** `source` is looked at on every turn while the poller is awake. */
  addSource(source: Source): void {
    this.#sources.push(source);
  }

  removeSource(source: Source): void {
    const at = this.#sources.indexOf(source);
    if (at >= 0) this.#sources.splice(at, 1);
  }

  /** Looks at the sources until `until` at least; false where polling is not allowed. */
  heatSources(now: number, until: number): boolean {
    if (until <= now || this.#share === 0 || (!this.#awake && !this.#affordable(now))) return false;
    if (until > this.#sourcesUntil) this.#sourcesUntil = until;
    if (until > this.#until) this.#until = until;
    this.#wake(now);
    return true;
  }

  #wake(now: number): void {
    if (this.#awake) return;
    this.#awake = true;
    this.#contention.begin(now);
    this.#sliceStart = now;
    this.#sweepAt = now + LINGER_MS;
    this.#soon.driven = true;
    this.#queueTick();
  }

  readonly #slice = (): void => {
    this.#sliceStart = performance.now();
    this.#tick();
  };

  readonly #tick = (): void => {
    let found = true;
    try {
      this.#soon.run();
      found = this.#turn();
    } finally {
      this.#next(found);
    }
  };

  /** Polls until something was moved (true) or it is time for others (false). */
  #turn(): boolean {
    const started = performance.now();
    this.#now = started;
    for (let polls = 1; ; polls++) {
      if (this.#pollOnce()) return true;
      if (polls % POLLS_PER_LOOK !== 0) continue;
      this.#now = performance.now();
      this.#contention.look(this.#now);
      if (this.#now - started > IDLE_TURN_MS || this.#now > this.#until) break;
      if (this.#contention.contended(this.#now)) schedYield();
    }
    this.#budgetMs -= this.#now - started;
    return false;
  }

  #next(found: boolean): void {
    const now = found ? performance.now() : this.#now;
    // After something was found there is always one more turn: what it settled may ask again.
    if (!found && (!this.#affordable(now) || !this.#stillWorth(now))) {
      this.#sleep();
    } else if (found && now - this.#sliceStart < SLICE_MS) {
      this.#soon.driven = true;
      this.#queueTick();
    } else {
      if (now > this.#sweepAt) this.#sweep(now);
      this.#soon.release();
      setImmediate(this.#slice);
    }
  }

  #stillWorth(now: number): boolean {
    if (this.#until >= now && this.#hot.length + this.#sources.length > 0) return true;
    // It may stem from a stream that is gone.
    let until = this.#sourcesUntil;
    for (const stream of this.#hot) if (stream.pollUntil > until) until = stream.pollUntil;
    this.#until = until;
    return until >= now;
  }

  #sleep(): void {
    this.#awake = false;
    for (let last = this.#hot.pop(); last !== undefined; last = this.#hot.pop()) {
      last.hot = false;
      last.settle();
    }
    for (const source of this.#sources) source.settle();
    this.#soon.release();
  }

  /** Lets streams go that have long had nothing, so that each turn stays short. */
  #sweep(now: number): void {
    this.#sweepAt = now + LINGER_MS;
    for (let i = this.#hot.length - 1; i >= 0; i--) {
      const stream = this.#hot[i] as Polled;
      if (stream.pollUntil + LINGER_MS > now) continue;
      this.remove(stream);
      stream.settle();
    }
  }

  #affordable(now: number): boolean {
    if (this.#contention.crowded(now)) return false;
    const earned = (now - this.#budgetAt) * this.#share;
    this.#budgetMs = Math.min(BUDGET_MS_MAX, this.#budgetMs + earned);
    this.#budgetAt = now;
    return this.#budgetMs > (this.#awake ? 0 : BUDGET_MS_MIN);
  }

  #pollOnce(): boolean {
    let moved = false;
    for (let i = 0; i < this.#sources.length; i++) {
      if (this.#sources[i]?.look() === true) moved = true;
    }
    if (this.#hot.length > DIRECT_STREAMS_MAX) return this.#pollByEpoll() || moved;
    // Downwards: a stream that leaves is replaced by the last one.
    for (let i = this.#hot.length - 1; i >= 0; i--) {
      const stream = this.#hot[i];
      if (stream?.poll() === true) moved = true;
    }
    return moved;
  }

  #pollByEpoll(): boolean {
    const count = epollWait(this.#epoll, this.#eventsAddress, EVENTS_MAX, 0);
    let moved = false;
    for (let i = 0; i < count; i++) {
      const stream = this.#byFd[this.#events[i * EVENT_WORDS + EVENT_FD_WORD] as number];
      if (stream?.poll() === true) moved = true;
    }
    return moved;
  }

  /** The hot stream that came last is one too many: it, or all, are polled by epoll from now on. */
  #crowd(): void {
    if (this.#epoll < 0) this.#epoll = epollCreate(EPOLL_CLOEXEC);
    const first = this.#hot.length === DIRECT_STREAMS_MAX + 1 ? 0 : this.#hot.length - 1;
    for (const stream of this.#hot.slice(first)) {
      this.#register(stream);
      stream.crowded();
    }
  }

  #register(stream: Polled): void {
    if (stream.registered) return;
    stream.registered = true;
    this.#change[0] = EPOLLIN;
    this.#change[EVENT_FD_WORD] = stream.fd;
    epollControl(this.#epoll, EPOLL_CTL_ADD, stream.fd, this.#changeAddress);
    this.#byFd[stream.fd] = stream;
  }

  #unregister(stream: Polled): void {
    if (!stream.registered) return;
    stream.registered = false;
    this.#byFd[stream.fd] = undefined;
    epollControl(this.#epoll, EPOLL_CTL_DEL, stream.fd, this.#changeAddress);
  }
}

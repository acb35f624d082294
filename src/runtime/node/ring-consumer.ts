/**
 * The consuming end of a ring with its two ways to sleep: a worker blocks on the futex of
 * `Atomics.wait`; a thread with an event loop leaves a promise of `Atomics.waitAsync`, which wakes
 * the loop and by itself keeps no process alive. Both look for a moment before they sleep.
 */

import { assert } from '../../base/assert.js';
import { RING_TAIL_WORD, RingReader } from '../ring.js';
import type { RingConsumer, RingOptions, Shared } from '../threads.js';
import { Patience } from './patience.js';
import type { Poller, Source } from './poller.js';

/** Not yet in the declarations of ES2022; Node has it since 16. */
interface AtomicsWithWaitAsync {
  waitAsync(
    words: Int32Array,
    index: number,
    value: number,
  ): { readonly async: boolean; readonly value: Promise<string> | string };
}

const { waitAsync } = Atomics as unknown as AtomicsWithWaitAsync;
const settled = Promise.resolve();
/** Looks without reading the clock. */
const LOOKS_PER_CLOCK = 64;

export function wakeConsumer(words: Int32Array): void {
  Atomics.notify(words, RING_TAIL_WORD);
}

export class NodeRingConsumer extends RingReader implements RingConsumer, Source {
  readonly #poller: Poller;
  readonly #patience = new Patience();
  #callback: (() => void) | undefined;
  /** The sleep mark is set. */
  #asleep = false;
  /** A promise of `waitAsync` is out; any later ring settles it, whatever the tail is by then. */
  #waiting = false;

  constructor(shared: Shared, offset: number, options: RingOptions, poller: Poller) {
    super(shared, offset, options);
    this.#poller = poller;
  }

  wait(timeoutMs: number): Promise<void> {
    const start = performance.now();
    this.#patience.begin(start);
    const polled = this.#spin(start + Math.min(timeoutMs, this.#patience.ms));
    if (!polled && timeoutMs > 0 && this.markAsleep()) {
      this.#patience.waitedInVain();
      const left = timeoutMs - (performance.now() - start);
      if (left > 0) Atomics.wait(this.words, RING_TAIL_WORD, this.tailSeen, left);
      this.markAwake();
    }
    if (this.waiting() > 0) this.#patience.arrived(performance.now(), polled);
    return settled;
  }

  #spin(until: number): boolean {
    do {
      for (let i = 0; i < LOOKS_PER_CLOCK; i++) if (this.waiting() > 0) return true;
    } while (performance.now() < until);
    return false;
  }

  listen(callback: () => void): void {
    assert(this.#callback === undefined, 'a ring has one listener');
    this.#callback = callback;
    this.#poller.addSource(this);
    this.settle();
  }

  close(): void {
    if (this.#callback === undefined) return;
    this.#callback = undefined;
    this.#poller.removeSource(this);
    this.#wakeUp();
    // So that the promise does not hold this object until the ring is forgotten.
    if (this.#waiting) wakeConsumer(this.words);
  }

  look(): boolean {
    if (this.waiting() === 0) return false;
    this.#handle(true);
    return true;
  }

  settle(): void {
    if (this.#callback === undefined || this.#asleep) return;
    if (!this.markAsleep()) {
      process.nextTick(this.#rung);
      return;
    }
    this.#asleep = true;
    this.#patience.waitedInVain();
    if (this.#waiting) return;
    this.#waiting = true;
    const waiting = waitAsync(this.words, RING_TAIL_WORD, this.tailSeen);
    // A tick of its own, so that an error in the callback ends the process like any other.
    void settled.then(() => waiting.value).then(() => process.nextTick(this.#woken));
  }

  readonly #woken = (): void => {
    this.#waiting = false;
    this.#rung();
  };

  readonly #rung = (): void => {
    if (this.#callback === undefined) return;
    if (this.waiting() > 0) this.#handle(false);
    // Where nobody polls now the next record has to wake us again.
    else this.#wakeUp();
    if (!this.#heat(performance.now())) this.settle();
  };

  #handle(polled: boolean): void {
    this.#wakeUp();
    const now = performance.now();
    this.#patience.arrived(now, polled);
    this.#heat(now);
    this.#callback?.();
  }

  #heat(now: number): boolean {
    return this.#poller.heatSources(now, now + this.#patience.ms);
  }

  #wakeUp(): void {
    if (!this.#asleep) return;
    this.#asleep = false;
    this.markAwake();
  }
}

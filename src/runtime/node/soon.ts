/**
 * Callbacks that run once the present code and all promises it settled are done.
 *
 * Microtasks alone would be too early: a promise settled now may settle others. A tick that is
 * queued from a microtask runs when the microtask queue is empty, and before the event loop looks
 * at any input. A poller that comes around anyway drives the queue itself and saves that way.
 */

const settled = Promise.resolve();

/** Makes a function that lets `tick` run, once per call, when the microtask queue is empty. */
export function afterMicrotasks(tick: () => void): () => void {
  const step = (): void => process.nextTick(tick);
  return () => void settled.then(step);
}

export class SoonQueue {
  #callbacks: (() => void)[] = [];
  #count = 0;
  /** The array that is filled while the other one runs. */
  #spare: (() => void)[] = [];
  #scheduled = false;
  readonly #schedule: () => void;
  /** While true somebody has promised to call `run` in time. */
  driven = false;

  constructor() {
    this.#schedule = afterMicrotasks(() => {
      this.#scheduled = false;
      this.run();
    });
  }

  add(callback: () => void): void {
    this.#callbacks[this.#count++] = callback;
    if (!this.driven) this.#ensureScheduled();
  }

  /** Runs what was added up to now; what is added meanwhile waits for the promises it settles. */
  run(): void {
    const count = this.#count;
    if (count === 0) return;
    const running = this.#callbacks;
    this.#callbacks = this.#spare;
    this.#spare = running;
    this.#count = 0;
    let done = 0;
    try {
      while (done < count) {
        const callback = running[done] as () => void;
        running[done++] = nothing;
        callback();
      }
    } finally {
      // After a throw the others still have their turn, if the process goes on at all.
      while (done < count) this.add(running[done++] as () => void);
    }
  }

  /** Takes over again from whoever drove the queue. */
  release(): void {
    this.driven = false;
    if (this.#count > 0) this.#ensureScheduled();
  }

  #ensureScheduled(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule();
  }
}

function nothing(): void {}

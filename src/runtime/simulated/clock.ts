/** A machine's clock, which starts anywhere and drifts, and a task's timers upon it. */

import { assert } from '../../base/assert.js';
import type { Clock, Timer, Timers } from '../clock.js';
import { type Kernel, NS_PER_MS, NS_PER_US } from './kernel.js';
import type { Machine, SimulatedEvent, Task } from './task.js';
import { EventKind } from './trace.js';

const MILLION = 1_000_000;
/** 2026-01-01 UTC: when every simulated world begins. */
const WORLD_BEGINS_MS = 1_767_225_600_000;

/** The machine's own nanoseconds: drift is added in whole microseconds, so it never goes back. */
function localNs(kernel: Kernel, machine: Machine): number {
  const ns = kernel.nowNs;
  return machine.bootNs + ns + Math.floor((ns / MILLION) * machine.driftPpm);
}

export class SimulatedClock implements Clock {
  readonly #kernel: Kernel;
  readonly #machine: Machine;

  constructor(kernel: Kernel, machine: Machine) {
    this.#kernel = kernel;
    this.#machine = machine;
  }

  now(): number {
    this.#kernel.lookAtClock();
    return Math.floor(localNs(this.#kernel, this.#machine) / NS_PER_US) / 1_000;
  }

  wall(): number {
    const sinceBeginMs = this.now() - this.#machine.bootNs / NS_PER_MS;
    return WORLD_BEGINS_MS + Math.floor(sinceBeginMs) + this.#machine.wallMs;
  }
}

export class SimulatedTimers implements Timers {
  readonly #kernel: Kernel;
  readonly #task: Task;

  constructor(kernel: Kernel, task: Task) {
    this.#kernel = kernel;
    this.#task = task;
  }

  after(ms: number, callback: () => void): Timer {
    assert(ms >= 0 && ms < Number.MAX_SAFE_INTEGER / NS_PER_MS, 'a timer needs a sane time');
    const kernel = this.#kernel;
    const driftPpm = this.#task.process.machine.driftPpm;
    // Two microseconds more, because the clock that the caller reads rounds down.
    const ns = Math.ceil((ms * NS_PER_MS * MILLION) / (MILLION + driftPpm)) + 2 * NS_PER_US;
    const slack = kernel.prng.below(kernel.knobs.timerSlackUs * NS_PER_US + 1);
    return new PendingTimer(
      kernel.schedule(ns + slack, this.#task, EventKind.Timer, () => callback()),
    );
  }

  soon(callback: () => void): void {
    this.#kernel.soon(this.#task, callback);
  }
}

class PendingTimer implements Timer {
  readonly #event: SimulatedEvent;

  constructor(event: SimulatedEvent) {
    this.#event = event;
  }

  cancel(): void {
    this.#event.run = undefined;
  }
}

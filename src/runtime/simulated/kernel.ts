/**
 * The heart that all simulated parts share: virtual time, the queue of events, the seed's random
 * numbers, faults, knobs and the trace.
 *
 * A *turn* is one event (or one `soon` callback) and all the promises it settled. Between two
 * turns every microtask is done: turns are called from macrotasks (see `turns.ts`), so no chain of
 * promises, however long, is cut by the next event.
 */

import { assert } from '../../base/assert.js';
import { EventQueue } from '../../base/event-queue.js';
import type { Prng } from '../../base/prng.js';
import type { FileRange } from '../durable.js';
import { FaultKind, type Faults } from './faults.js';
import { drawLatency, type Knobs } from './knobs.js';
import type { Machine, SimulatedEvent, Task } from './task.js';
import { EventKind, type Trace } from './trace.js';

export const NS_PER_US = 1_000;
export const NS_PER_MS = 1_000_000;

/** What a callback of a process threw: it is a bug of that process and ends the run. */
export class SimulatedCrash extends Error {
  override readonly name = 'SimulatedCrash';
}

/** What `exit` throws, so that nothing after it runs. Ignore it where it surfaces. */
export class SimulatedExit extends Error {
  override readonly name = 'SimulatedExit';
}

/** After this many looks at a clock in one turn somebody waits for time that cannot pass. */
const CLOCK_LOOKS_MAX = 1_000_000;

/** How far ahead another task's event may be taken into the middle of a step. */
const MEANWHILE_NS = 100_000;

/** How often somebody who is stopped goes on in the middle of another one's work. */
const GO_ON_PER_MILLION = 150_000;

interface Soon {
  readonly task: Task;
  readonly callback: () => void;
}

export type Turn = 'ran' | 'idle' | 'limit';

export interface KernelParts {
  /** Runs all promises that have settled; needed where threads block. */
  readonly microtasks?: (() => void) | undefined;
  readonly prng: Prng;
  readonly knobs: Knobs;
  readonly trace: Trace;
  readonly faults: (nowNs: () => number) => Faults;
}

export class Kernel {
  readonly prng: Prng;
  readonly knobs: Knobs;
  readonly trace: Trace;
  readonly faults: Faults;
  nowNs = 0;
  /** Told of each flush of a machine's disk right before it takes effect. */
  flushEnds: ((machine: Machine, ranges: readonly FileRange[]) => void) | undefined;
  /** Turns so far. */
  turns = 0;
  readonly #microtasks: (() => void) | undefined;
  readonly #queue = new EventQueue<SimulatedEvent>();
  #soon: Soon[] = [];
  #soonAt = 0;
  #clockLooks = 0;
  /** Of those that are seen from outside: with no events of others in them. */
  #turn = 0;
  /** How threads go on that are stopped in the middle of a step. */
  readonly #stopped: Set<SimulatedEvent> = new Set();
  /** The task that runs in the middle of another one's step, and what it threw. */
  #meanwhile: Task | undefined;
  #meanwhileError: unknown;

  constructor(parts: KernelParts) {
    this.prng = parts.prng;
    this.knobs = parts.knobs;
    this.trace = parts.trace;
    this.faults = parts.faults(() => this.nowNs);
    this.#microtasks = parts.microtasks;
  }

  /** Runs `run` as an event of its own; with a task only while that lives and is not paused. */
  schedule(
    delayNs: number,
    task: Task | undefined,
    kind: number,
    run: () => void,
    size = 0,
  ): SimulatedEvent {
    assert(Number.isInteger(delayNs) && delayNs >= 0, 'a delay is whole nanoseconds');
    const event = { atNs: this.nowNs + delayNs, sequence: 0, task, kind, size, run };
    this.#queue.push(event);
    return event;
  }

  soon(task: Task, callback: () => void): void {
    this.#soon.push({ task, callback });
  }

  /** One turn of what is due until `limitNs`; time stops there. */
  turn(limitNs: number): Turn {
    this.#clockLooks = 0;
    this.#turn += 1;
    if (this.#meanwhileError !== undefined) throw this.#meanwhileError;
    if (this.#soonAt < this.#soon.length) {
      this.#runSoon();
      return 'ran';
    }
    for (;;) {
      const event = this.#queue.peek();
      if (event === undefined) return 'idle';
      if (event.atNs > limitNs) {
        this.nowNs = Math.max(this.nowNs, limitNs);
        return 'limit';
      }
      this.#queue.pop();
      this.nowNs = event.atNs;
      if (this.#run(event)) return 'ran';
    }
  }

  #run(event: SimulatedEvent): boolean {
    const { run, task } = event;
    if (run === undefined) return false;
    if (task !== undefined) {
      if (!task.alive) return false;
      if (task.process.paused) {
        task.process.held.push(event);
        return false;
      }
      if (task.isBusy && event.kind !== EventKind.Part) {
        task.held.push(event);
        return false;
      }
    }
    this.turns += 1;
    this.trace.record(this.nowNs, event.kind, task?.id ?? 0, event.size);
    run();
    return true;
  }

  /**
   * Called in the middle of a step of `task`: at times the next events run now, if they are other
   * tasks'. At most one of each task within a turn, so that what it promised, or asked for soon, is
   * done before its next; but of a step in parts as many as come.
   */
  meanwhile(task: Task): void {
    while (this.prng.chance(this.knobs.splitCopiesPerMillion)) {
      if (this.#meanwhile !== undefined) return;
      if (this.prng.chance(GO_ON_PER_MILLION)) this.#goOn(task);
      const event = this.#queue.peek();
      if (event === undefined || event.atNs > this.nowNs + MEANWHILE_NS) return;
      const other = event.task;
      // A thread that blocks runs others' turns, which has no place in the middle of a step.
      const mayBlock = this.#microtasks !== undefined && event.kind === EventKind.Start;
      if (mayBlock || !this.#mayAct(task, other)) return;
      this.#queue.pop();
      this.nowNs = event.atNs;
      this.#runMeanwhile(event, other);
      if (!task.alive) throw new SimulatedExit('ended in the middle of a step');
    }
  }

  #mayAct(task: Task, other: Task | undefined): other is Task {
    if (other === undefined || other === task || other.blocks) return false;
    return other.actedIn !== this.#turn && this.#soonAt >= this.#soon.length;
  }

  #runMeanwhile(event: SimulatedEvent, other: Task): void {
    this.#meanwhile = other;
    try {
      const hasRun = this.#run(event);
      // A part of a step promises nothing before its last.
      if (hasRun && !(event.kind === EventKind.Part && other.isBusy)) other.actedIn = this.#turn;
    } catch (error) {
      if (!(error instanceof SimulatedExit)) this.#meanwhileError ??= error;
    }
    this.#meanwhile = undefined;
  }

  /**
   * `task`, whose turn it is, is blocked: others have their turns within it until `isOver`. Of two
   * threads that are blocked the later one goes on first, as if the other were slow to wake.
   */
  block(task: Task, isOver: () => boolean): void {
    const microtasks = this.#microtasks;
    assert(microtasks !== undefined, 'the world was made without `microtasks`');
    assert(this.#meanwhile === undefined, "a thread blocks in the middle of another's step");
    task.blocks = true;
    task.isBusy = true;
    this.#settle(microtasks);
    while (!isOver()) {
      this.#turnWithin();
      this.#settle(microtasks);
      if (!task.alive) throw new SimulatedExit('ended while it was blocked');
    }
    task.isBusy = false;
    this.release(task.held.splice(0));
  }

  /** All promises that have settled, which cannot be done from within one. */
  #settle(microtasks: () => void): void {
    let isDone = false;
    void Promise.resolve().then(() => (isDone = true));
    microtasks();
    assert(isDone, 'a thread blocks in code that a promise has called');
  }

  #turnWithin(): void {
    try {
      const turn = this.turn(Number.POSITIVE_INFINITY);
      assert(turn === 'ran', 'a thread is blocked, and nothing is left that could happen');
    } catch (error) {
      if (error instanceof SimulatedExit) return;
      // Not the blocked thread's: the run ends with it.
      this.#meanwhileError ??= error;
      throw new SimulatedExit('the run ends');
    }
  }

  /** A thread is stopped in the middle of a step, and goes on with `run` after so long. */
  stop(task: Task, stoppedNs: number, run: () => void): void {
    const fault = this.faults.inject(FaultKind.StepStopped, [task.process.machine.id], true);
    const isOver = (): void => this.faults.end(fault);
    const forget = task.atEnd(isOver);
    const goOn = (): void => {
      isOver();
      forget();
      this.#stopped.delete(event);
      run();
    };
    const event = this.schedule(stoppedNs, task, EventKind.Part, goOn);
    this.#stopped.add(event);
  }

  /** A thread of somebody else that is stopped goes on just now. */
  #goOn(task: Task): void {
    for (const event of this.#stopped) {
      if (event.task === task || event.task?.process.paused === true) continue;
      this.#hasten(event);
      return;
    }
  }

  isStopped(task: Task): boolean {
    for (const event of this.#stopped) if (event.task === task) return true;
    return false;
  }

  /** All that are stopped go on. */
  endStops(): void {
    for (const event of [...this.#stopped]) this.#hasten(event);
  }

  #hasten(event: SimulatedEvent): void {
    const { run } = event;
    this.#stopped.delete(event);
    if (run === undefined) return;
    // What still lies in the queue, or is held for a paused process, does nothing any more.
    event.run = undefined;
    this.schedule(0, event.task, event.kind, run);
  }

  #runSoon(): void {
    const { task, callback } = this.#soon[this.#soonAt] as Soon;
    this.#soonAt += 1;
    if (this.#soonAt === this.#soon.length) {
      this.#soon = [];
      this.#soonAt = 0;
    }
    if (!task.alive) return;
    if (task.process.paused || task.isBusy) {
      // Paused from outside between two runs, or in the middle of a step: held like any event.
      this.schedule(0, task, EventKind.Soon, callback);
      return;
    }
    this.turns += 1;
    this.trace.record(this.nowNs, EventKind.Soon, task.id, 0);
    callback();
  }

  /** Puts what a paused process or a busy task missed back, in its order. */
  release(held: readonly SimulatedEvent[]): void {
    for (const event of held) {
      // The same object, because whoever may cancel it holds that.
      event.atNs = this.nowNs;
      if (event.run !== undefined) this.#queue.push(event);
    }
  }

  /** Guards against a loop that waits for time, which passes between turns only. */
  lookAtClock(): void {
    this.#clockLooks += 1;
    assert(this.#clockLooks < CLOCK_LOOKS_MAX, 'a loop waits for time to pass within one turn');
  }

  latencyNs(baseNs: number): number {
    return drawLatency(this.prng, baseNs, this.knobs);
  }

  /** In [1, us] microseconds, in whole nanoseconds. */
  withinUs(us: number): number {
    return 1 + this.prng.below(us * NS_PER_US);
  }
}

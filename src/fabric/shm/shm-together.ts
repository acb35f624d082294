/** Several reads, or several writes, that a `ShmLink` does at once: a step for up to 64 of them. */

import { Status } from '../../base/status.js';
import type { Memory } from '../../runtime/memory.js';
import { MessageType } from '../../wire/messages.js';
import { NOT_NOW, type Together, type Window } from '../link.js';
import type { OneSided } from './one-sided.js';
import type { ShmCounters } from './shm-counters.js';
import { SURE } from './step.js';
import { StepBatch } from './step-batch.js';

export interface ShmTogetherParts {
  readonly memory: Memory;
  readonly counters: ShmCounters;
  /** What makes a step; undefined where none may be made now. */
  readonly steps: () => OneSided | undefined;
  /** Something was not done, or not for sure: maybe because the node's process is another one. */
  readonly doubted: () => void;
}

export class ShmTogether implements Together {
  readonly #parts: ShmTogetherParts;
  readonly #batch = new StepBatch();
  /** What made the last step. */
  #steps: OneSided | undefined;
  #writes = false;

  constructor(parts: ShmTogetherParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#batch.count;
  }

  addRead(window: Window, address: number, into: Uint8Array, start: number, bytes: number) {
    this.#writes = false;
    return this.#batch.add(MessageType.Read, window, address, into, start, bytes);
  }

  addWrite(window: Window, address: number, from: Uint8Array, start: number, bytes: number) {
    this.#writes = true;
    return this.#batch.add(MessageType.Write, window, address, from, start, bytes);
  }

  run(): number {
    const { memory, counters, steps: stepsNow, doubted } = this.#parts;
    const batch = this.#batch;
    if (batch.count === 0) return 0;
    const steps = stepsNow();
    if (steps === undefined) {
      batch.clear();
      return 0;
    }
    this.#steps = steps;
    const areSure = batch.run(steps, memory);
    const { done } = steps;
    counters.batches++;
    if (areSure) {
      counters.operationsInBatches += done;
      return done;
    }
    for (let at = 0; at < done; at++) {
      if (steps.certainty[at] === SURE) counters.operationsInBatches++;
      else if (this.#writes) counters.outcomesUnknown++;
    }
    doubted();
    return done;
  }

  statusOf(index: number): number {
    if (this.#steps?.certainty[index] === SURE) return Status.Ok;
    return this.#writes ? Status.OutcomeUnknown : NOT_NOW;
  }

  mayWrite(window: Window, address: number, bytes: number): boolean {
    return this.#parts.steps()?.mayWrite(window, address, bytes) ?? false;
  }
}

/**
 * What `fence` and `release` wait for: everything that was started before them.
 *
 * Operations are counted per generation, the time between two barriers. A barrier ends its
 * generation, and is passed when all generations up to it have nothing open; so barriers are
 * passed in their order. An operation costs two additions, no object.
 */

import { assert } from '../base/assert.js';
import { FAILURES_MAX, type MemrackError, unawaited } from './error.js';

export interface Generation {
  open: number;
  readonly failures: MemrackError[];
  failureCount: number;
  /** Set when a barrier has ended the generation. */
  passed: ((failure: MemrackError | undefined) => void) | undefined;
}

function newGeneration(): Generation {
  return { open: 0, failures: [], failureCount: 0, passed: undefined };
}

/**
 * The first failure, with the others in `failures`: not enumerable, because the first of them is
 * the error itself, which JSON cannot express.
 */
function summary(generation: Generation): MemrackError | undefined {
  const first = generation.failures[0];
  const { failures, failureCount } = generation;
  if (first === undefined) return undefined;
  const omitted = failureCount - failures.length;
  return Object.defineProperties(first, {
    failures: { value: failures, configurable: true },
    failuresOmitted: { value: omitted, configurable: true },
  });
}

export class Barriers {
  /** Oldest first; the last one is where operations are counted now. */
  readonly #generations: Generation[] = [newGeneration()];
  #current = this.#generations[0] as Generation;
  /** How many have ended that may or may not have taken effect, or may still do so. */
  unknowns = 0;

  /** The generation that an operation which starts now belongs to. */
  get current(): Generation {
    return this.#current;
  }

  started(): Generation {
    this.#current.open += 1;
    return this.#current;
  }

  ended(generation: Generation, failure: MemrackError | undefined): void {
    assert(generation.open > 0);
    generation.open -= 1;
    if (failure !== undefined) {
      generation.failureCount += 1;
      if (failure.outcome === 'unknown') this.unknowns += 1;
      if (generation.failures.length < FAILURES_MAX) generation.failures.push(failure);
    }
    if (generation.open === 0 && generation.passed !== undefined) this.#pass();
  }

  /** A failure before anything was sent counts like any other. */
  refuse<T>(error: MemrackError): Promise<T> {
    this.ended(this.started(), error);
    return unawaited(Promise.reject<T>(error));
  }

  /** Counts a call until it has ended. */
  follow<T>(call: Promise<T>): Promise<T> {
    const generation = this.started();
    call.then(
      () => this.ended(generation, undefined),
      (error: MemrackError) => this.ended(generation, error),
    );
    return call;
  }

  /**
   * As `wait`, but nobody is told of failures here: the next barrier tells them. Undefined when
   * there is nothing to wait for.
   */
  quiet(): Promise<void> | undefined {
    if (this.#generations.every(({ open }) => open === 0)) return undefined;
    const ending = this.#current;
    return new Promise((resolve) => {
      void this.wait();
      const next = this.#current;
      ending.passed = () => {
        next.failures.unshift(...ending.failures);
        next.failures.splice(FAILURES_MAX);
        next.failureCount += ending.failureCount;
        resolve();
      };
    });
  }

  /** Resolves with the first failure since the last barrier, or with nothing. */
  wait(): Promise<MemrackError | undefined> {
    const ending = this.#current;
    this.#current = newGeneration();
    this.#generations.push(this.#current);
    return new Promise((resolve) => {
      ending.passed = resolve;
      if (ending.open === 0) this.#pass();
    });
  }

  #pass(): void {
    for (;;) {
      const oldest = this.#generations[0];
      if (oldest === undefined || oldest.open > 0 || oldest.passed === undefined) return;
      this.#generations.shift();
      oldest.passed(summary(oldest));
    }
  }
}

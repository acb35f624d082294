/** What locks need of the world, and how one word is changed when answers may be lost. */

import type { Clock, Timers } from '../../runtime/clock.js';
import type { Entropy } from '../../runtime/runtime.js';
import { MemrackError } from '../error.js';
import type { Agenda } from './agenda.js';
import { withFlagOf, withoutFlag } from './word.js';

/** One address space, as its locks see it. Failures reject with `MemrackError`. */
export interface LockMemory {
  /** For messages to people. */
  readonly name: string;
  /** Resolves to the old value. */
  swap(at: number, expected: bigint, desired: bigint): Promise<bigint>;
  /** What was started before it at this address is executed, or never will be. */
  read(at: number): Promise<bigint>;
  /** Waits for all of the client's own operations; undefined when there are none. */
  barrier(): Promise<void> | undefined;
  /** How many of the client's own operations have ended with an outcome that nobody knows. */
  readonly unknowns: number;
  /** Resolves to true when none of those can take effect any more; false: not by `deadline`. */
  settle(deadline: number): Promise<boolean>;
}

export interface LockParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly agenda: Agenda;
  readonly memory: LockMemory;
}

const READ_AGAIN_MS = 5;

export type Changed =
  /** The word is ours, and changed; `startedAt` is before the change was made. */
  | { readonly kind: 'done'; readonly word: bigint; readonly startedAt: number }
  /** Another word stands there. `isSure`: the change was not made. */
  | { readonly kind: 'gone'; readonly word: bigint; readonly isSure: boolean }
  | { readonly kind: 'failed'; readonly error: MemrackError };

/** Anything else is a bug of ours and goes on. */
export function memrackError(error: unknown): MemrackError {
  if (error instanceof MemrackError) return error;
  throw error;
}

/** Nothing was changed, and it may succeed another time. */
export function isPassing(error: MemrackError): boolean {
  return error.outcome === 'notApplied' && error.retryable;
}

/**
 * Changes a word of one's own. The starving flag is others' to set: it is kept, and never in the
 * way. After an answer that was lost the word itself says what became of the change.
 */
export async function changeOwn(
  parts: LockParts,
  at: number,
  from: bigint,
  to: bigint,
  isOver: () => boolean,
): Promise<Changed> {
  const { clock, memory } = parts;
  let wasUnknown = false;
  for (let expected = from; ; ) {
    const startedAt = clock.now();
    const desired = withFlagOf(to, expected);
    let found: bigint;
    try {
      found = await memory.swap(at, expected, desired);
      if (found === expected) return { kind: 'done', word: desired, startedAt };
    } catch (error) {
      const told = memrackError(error);
      if (told.outcome !== 'unknown') return { kind: 'failed', error: told };
      wasUnknown = true;
      const read = await readAfterUnknown(parts, at, isOver);
      if (read === undefined) return { kind: 'failed', error: told };
      found = read;
      if (withoutFlag(found) === withoutFlag(to)) return { kind: 'done', word: found, startedAt };
    }
    if (withoutFlag(found) !== withoutFlag(from)) {
      return { kind: 'gone', word: found, isSure: !wasUnknown };
    }
    expected = found;
  }
}

/** Undefined when it could not be had while there was time. */
export async function readAfterUnknown(
  { memory, timers }: LockParts,
  at: number,
  isOver: () => boolean,
): Promise<bigint | undefined> {
  while (!isOver()) {
    try {
      return await memory.read(at);
    } catch (error) {
      if (!isPassing(memrackError(error))) return undefined;
    }
    await new Promise<void>((resolve) => timers.after(READ_AGAIN_MS, resolve));
  }
  return undefined;
}

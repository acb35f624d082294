// Operations of the test itself, which may meet a blow like anybody's.
import type { MemrackError } from '../../../src/apps/library.js';

const PASSING: readonly string[] = ['Unavailable', 'Timeout', 'OutcomeUnknown', 'Busy', 'NoSpace'];
const WITHIN_MS = 30_000;

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Again and again, until it is done; undefined when it has ended with one of these codes. */
export async function persist<T>(
  what: string,
  run: () => Promise<T>,
  codes: readonly string[] = [],
): Promise<T | undefined> {
  const endMs = performance.now() + WITHIN_MS;
  for (;;) {
    try {
      return await run();
    } catch (cause) {
      const { code, message } = cause as MemrackError;
      if (codes.includes(code)) return undefined;
      if (!PASSING.includes(code)) throw new Error(`${what}: ${message}`, { cause });
      if (performance.now() > endMs) throw new Error(`${what}, for long: ${message}`, { cause });
      await pause(5);
    }
  }
}

/** As `persist`, of what has no other end. */
export async function must<T>(what: string, run: () => Promise<T>): Promise<T> {
  return (await persist(what, run)) as T;
}

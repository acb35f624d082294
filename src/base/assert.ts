/**
 * Assertions about our own bugs. They stay on in production: a wrong byte is worse than a crash.
 *
 * A peer, a disk or a user must never be able to trip one; for those there is `Status` and the
 * error types at the edge. The message is a literal, because building one costs time even when
 * the condition holds.
 */

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

let isOn = true;

/**
 * Switches assertions off, for one purpose: simulation shows with planted bugs that its checkers
 * notice them from outside, without this help. Nothing else may call it.
 */
export function setAssertions(on: boolean): void {
  isOn = on;
}

export function assert(condition: boolean, message?: string): asserts condition {
  if (!condition && isOn) throw new AssertionError(message ?? 'assertion failed');
}

/** For the default branch of an exhaustive switch: does not compile while a case is missing. */
export function assertNever(value: never): never {
  throw new AssertionError(`unexpected value: ${String(value)}`);
}

/** The value, where the caller knows that there is one (an index within bounds, for example). */
export function defined<T>(value: T | undefined | null): T {
  if (value === undefined || value === null) throw new AssertionError('value is missing');
  return value;
}

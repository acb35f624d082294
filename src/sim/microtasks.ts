/** For simulated worlds with threads that block: all that has settled goes on, now. */

/** As Node does between two callbacks. Has no effect in code that a promise has called. */
export function runMicrotasks(): void {
  // Node has no public name for it (DEP0134); without it the worlds complain and do not go on.
  (process as unknown as { _tickCallback(): void })._tickCallback();
}

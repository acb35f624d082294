/**
 * The times of locks. All durations are counted on one's own clock, from moments that are known to
 * lie on the safe side; clocks of two machines may run at rates that differ by 3 percent.
 */

export const LEASE_MS_DEFAULT = 10_000;
export const WAIT_MS_DEFAULT = 10_000;

/** A holder renews so often in its lease, and tries more often when it fails. */
const RENEWALS = 3;
const RETRIES = 16;
/** Who has waited so long asks others to step back. */
export const STARVING_MS = 50;
/** After that others are left alone for so long: to change hands takes as long as many uses. */
export const RUN_MS = 5;
/** Who comes later steps back so long from a lock that is free for somebody who starves. */
export const STEP_BACK_MS = 25;
/** Longer than a poll of somebody who starves, so that each looks once while others step back. */
const POLL_MS_MAX = 20;
const POLL_MS_MIN = 1;
/** Looks that follow at once, before the first pause. */
export const QUICK_LOOKS = 3;
/** Changes of the word that are tried at one look: others change it too. */
export const TRIES_PER_LOOK = 8;

export function renewAfterMs(leaseMs: number): number {
  return leaseMs / RENEWALS;
}

export function retryAfterMs(leaseMs: number): number {
  return Math.max(1, leaseMs / RETRIES);
}

/** A word that did not change for so long is that of a holder whose lease has ended. */
export function takeOverMs(leaseMs: number): number {
  return leaseMs + leaseMs / 32 + 10;
}

/**
 * Two looks further apart than this do not show that nothing changed between: the beat might have
 * come around. That takes it 512 renewals, so 170 leases.
 */
export function gapMsMax(leaseMs: number): number {
  return 16 * leaseMs;
}

/**
 * How long to wait before the next look: twice as long each time, and random, so that those who
 * wait do not meet. `seenMs`: for how long the same holder has been seen. What was held for long
 * is looked at less often.
 */
export function pollMs(
  looks: number,
  isStarving: boolean,
  seenMs: number,
  leaseMs: number,
  fraction: number,
): number {
  const most = Math.min(POLL_MS_MAX, Math.max(POLL_MS_MIN, leaseMs / 8));
  const doubled = POLL_MS_MIN * 2 ** Math.min(10, Math.max(0, looks - QUICK_LOOKS));
  const patient = Math.max(2 * POLL_MS_MIN, seenMs / 16);
  const ms = Math.min(most, isStarving ? Math.min(doubled, patient) : doubled);
  return ms * (0.5 + 0.5 * fraction);
}

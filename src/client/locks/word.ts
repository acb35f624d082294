/**
 * The word of a lock: 64 bits that everybody changes by compare-and-swap alone.
 *
 *   high half   epoch 32
 *   low half    beat 9 | nonce of the holder 14 | duration of the lease 8 | starving 1
 *
 * Nonce 0 is a free lock: it keeps its epoch, and nothing else but the starving flag. The word 0 is
 * a lock that was never held. Every acquisition raises the epoch, so a free word comes only once,
 * and what a late message expects of it is never there again. After 2^32 - 1 follows 1.
 */

/** Somebody has waited long: who comes later lets it go first. Says nothing about the holder. */
export const STARVING = 1n;
export const NONCE_MAX = 2 ** 14 - 1;
export const BEATS = 2 ** 9;
export const LEASE_MS_MIN = 10;
export const LEASE_MS_MAX = 600_000;

const EPOCH_LAST = 2 ** 32 - 1;
const CODE_SHIFT = 1;
const CODE_MASK = 0xff;
const NONCE_SHIFT = 9;
const BEAT_SHIFT = 23;
/** Of a lease's duration: so many values between one and its double. */
const STEPS = 16;
const CODES = 256;

/** A bigint has no cheap halves but through memory. */
const word = new BigUint64Array(1);
const halves = new Uint32Array(word.buffer);

function join(low: number, high: number): bigint {
  halves[0] = low;
  halves[1] = high;
  return word[0] as bigint;
}

function lowOf(value: bigint): number {
  word[0] = value;
  return halves[0] as number;
}

export function epochOf(value: bigint): number {
  word[0] = value;
  return halves[1] as number;
}

export function nextEpoch(epoch: number): number {
  return epoch === EPOCH_LAST ? 1 : epoch + 1;
}

/** False for what was never written by a lock, as far as that shows. */
export function isLockWord(value: bigint): boolean {
  const low = lowOf(value);
  if (epochOf(value) === 0) return low === 0;
  return isHeld(value) || low >>> CODE_SHIFT === 0;
}

export function isHeld(value: bigint): boolean {
  return ((lowOf(value) >>> NONCE_SHIFT) & NONCE_MAX) !== 0;
}

export function isStarving(value: bigint): boolean {
  return (lowOf(value) & 1) === 1;
}

/** What says something about the holder. */
export function withoutFlag(value: bigint): bigint {
  return join((lowOf(value) & ~1) >>> 0, halves[1] as number);
}

/** The flag is that of another word. */
export function withFlagOf(value: bigint, other: bigint): bigint {
  const flag = lowOf(other) & 1;
  return join(((lowOf(value) & ~1) | flag) >>> 0, halves[1] as number);
}

/** `nonce` from 1 to `NONCE_MAX`; `beat` below `BEATS`. */
export function heldWord(epoch: number, nonce: number, code: number, beat: number): bigint {
  const low = (beat << BEAT_SHIFT) | (nonce << NONCE_SHIFT) | (code << CODE_SHIFT);
  return join(low >>> 0, epoch);
}

/** What is left when the holder goes: the epoch, and the flag if it was set. */
export function freed(value: bigint): bigint {
  return join(lowOf(value) & 1, halves[1] as number);
}

/** The same holder, still there. */
export function nextBeat(value: bigint): bigint {
  return join((lowOf(value) + 2 ** BEAT_SHIFT) >>> 0, halves[1] as number);
}

/** What the holder and everybody else count with, in milliseconds. */
export function leaseMsOf(value: bigint): number {
  return msOfCode((lowOf(value) >>> CODE_SHIFT) & CODE_MASK);
}

/** Exact in binary, so that it is the same everywhere: no power but of two, and no logarithm. */
const MS_OF_CODE = Float64Array.from({ length: CODES }, (_, code) => {
  return LEASE_MS_MIN * (1 + (code % STEPS) / STEPS) * 2 ** Math.floor(code / STEPS);
});

export function msOfCode(code: number): number {
  return MS_OF_CODE[code] as number;
}

/** The shortest duration that the word can say and that is not shorter than `ms`. */
export function codeOfMs(ms: number): number {
  let code = 0;
  while (code < CODES - 1 && msOfCode(code + STEPS) <= ms) code += STEPS;
  while (code < CODES - 1 && msOfCode(code) < ms) code += 1;
  return code;
}

export function describeWord(value: bigint): string {
  if (value === 0n) return 'never held';
  const flag = isStarving(value) ? ', somebody starves' : '';
  if (!isHeld(value)) return `free, epoch ${epochOf(value)}${flag}`;
  return `held, epoch ${epochOf(value)}, lease ${leaseMsOf(value)} ms${flag}`;
}

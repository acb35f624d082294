/**
 * Checks of what users pass in. Each returns what is wrong, or undefined: the caller decides how
 * it is told. Nothing was sent when one of them complains.
 */

import { KEY_BYTES_MAX, NAME_BYTES_MAX } from '../wire/limits.js';
import { invalid, MemrackError } from './error.js';

const WORD_BYTES = 8;
const WORD_LIMIT = 1n << 64n;
const SIGNED_LIMIT = 1n << 63n;

/** What the value is, short enough for a message: of any value whatever, without a throw. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? `a ${value.constructor?.name ?? 'object'}` : typeof value;
}

export function badAddress(name: string, value: unknown): MemrackError | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return undefined;
  const remedy = 'pass what alloc gave, or that plus an offset: an integer from 1 to 2^53 - 1';
  return invalid(`${name} is ${show(value)}, not an address`, remedy);
}

export function badLength(name: string, value: unknown): MemrackError | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return undefined;
  const remedy = 'pass a number of bytes: an integer of at least 1';
  return invalid(`${name} is ${show(value)}, not a length`, remedy);
}

export function badBytes(name: string, value: unknown): MemrackError | undefined {
  if (!(value instanceof Uint8Array)) {
    const remedy = 'pass a Uint8Array (a Buffer is one)';
    return invalid(`${name} is ${show(value)}, not bytes`, remedy);
  }
  if (value.length > 0) return undefined;
  return invalid(`${name} is empty`, 'pass at least one byte');
}

/** What a read of so many bytes goes into. */
export function newBytes(length: number): Uint8Array | MemrackError {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    const remedy = 'read it in parts, into arrays of at most some GiB';
    return new MemrackError('Invalid', `an array of ${length} bytes cannot be made`, {
      remedy,
      cause,
    });
  }
}

/** A range must end below 2^53. */
export function badRange(address: number, length: number): MemrackError | undefined {
  if (Number.isSafeInteger(address + length)) return undefined;
  const remedy = 'stay within the range that was allocated';
  return invalid(`the range at ${address} of ${length} bytes ends beyond 2^53`, remedy);
}

export function badWordAddress(value: unknown): MemrackError | undefined {
  const wrong = badAddress('at', value);
  if (wrong !== undefined) return wrong;
  if ((value as number) % WORD_BYTES === 0) return undefined;
  return invalid(
    `the address ${String(value)} is not a multiple of 8`,
    'align the word to 8 bytes',
  );
}

/** An unsigned 64-bit value. */
export function badWord(name: string, value: unknown): MemrackError | undefined {
  if (typeof value === 'bigint' && value >= 0n && value < WORD_LIMIT) return undefined;
  const remedy = 'pass a bigint from 0n to 2n ** 64n - 1n';
  return invalid(`${name} is ${show(value)}, not a 64-bit value`, remedy);
}

/** What `fetchAndAdd` adds: negative values subtract. */
export function badDelta(value: unknown): MemrackError | undefined {
  if (typeof value === 'bigint' && value >= -SIGNED_LIMIT && value < WORD_LIMIT) return undefined;
  const remedy = 'pass a bigint from -(2n ** 63n) to 2n ** 64n - 1n';
  return invalid(`delta is ${show(value)}, not a 64-bit value`, remedy);
}

/** Of `readMany` and `writeMany`; all items, because nothing is done when one is wrong. */
export function badMoves<T extends { readonly at: number }>(
  verb: string,
  field: string,
  moves: readonly T[],
  bufferOf: (move: T) => Uint8Array,
): MemrackError | undefined {
  if (!Array.isArray(moves)) {
    const remedy = `pass an array of { at, ${field} }`;
    return invalid(`${verb}Many takes a list`, remedy);
  }
  for (let i = 0; i < moves.length; i++) {
    const move = (moves[i] ?? {}) as T;
    const buffer = bufferOf(move);
    // Names are made only where something is wrong: a text per item would cost more than its copy.
    const isWrong = badAddress('at', move.at) !== undefined || badBytes('', buffer) !== undefined;
    const wrong = isWrong
      ? (badAddress(`[${i}].at`, move.at) ?? badBytes(`[${i}].${field}`, buffer))
      : badRange(move.at, buffer.length);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

/** Bytes of the text as UTF-8; lone surrogates count as three, as when they are replaced. */
function utf8Length(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}

export function badName(what: string, value: unknown): MemrackError | undefined {
  const good =
    typeof value === 'string' &&
    /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(value) &&
    utf8Length(value) <= NAME_BYTES_MAX;
  if (good) return undefined;
  const remedy = `use 1 to ${NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -, a letter or digit first`;
  return invalid(`${show(value)} cannot be the name of a ${what}`, remedy);
}

export function badKey(value: unknown): MemrackError | undefined {
  if (typeof value === 'string' && value.length > 0 && utf8Length(value) <= KEY_BYTES_MAX) {
    return undefined;
  }
  const remedy = `pass a text of 1 to ${KEY_BYTES_MAX} bytes`;
  return invalid(`${show(value)} cannot be a key`, remedy);
}

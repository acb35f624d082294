/**
 * UTF-8 in plain TypeScript, for the core, which has no TextEncoder. Strict in both directions:
 * overlong forms, surrogates, truncated sequences and numbers above U+10FFFF are refused, so that
 * one text has exactly one encoding.
 */

import { assert } from './assert.js';

/** Bytes that `text` takes; -1 when it has a lone surrogate and therefore no encoding. */
export function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (unit < 0xd800 || unit > 0xdfff) bytes += 3;
    else {
      const next = i + 1 < text.length ? text.charCodeAt(i + 1) : 0;
      if (unit > 0xdbff || next < 0xdc00 || next > 0xdfff) return -1;
      bytes += 4;
      i++;
    }
  }
  return bytes;
}

/** Writes `text`, which must have an encoding, at `at`; returns the offset after it. */
export function writeUtf8(target: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const point = text.codePointAt(i) as number;
    if (point < 0x80) {
      target[at++] = point;
    } else if (point < 0x800) {
      target[at++] = 0xc0 | (point >>> 6);
      target[at++] = 0x80 | (point & 0x3f);
    } else if (point < 0x10000) {
      assert(point < 0xd800 || point > 0xdfff, 'a lone surrogate has no UTF-8');
      target[at++] = 0xe0 | (point >>> 12);
      target[at++] = 0x80 | ((point >>> 6) & 0x3f);
      target[at++] = 0x80 | (point & 0x3f);
    } else {
      target[at++] = 0xf0 | (point >>> 18);
      target[at++] = 0x80 | ((point >>> 12) & 0x3f);
      target[at++] = 0x80 | ((point >>> 6) & 0x3f);
      target[at++] = 0x80 | (point & 0x3f);
      i++;
    }
  }
  return at;
}

/** The text of `source[start, end)`; undefined where it is not well-formed UTF-8. */
export function readUtf8(source: Uint8Array, start: number, end: number): string | undefined {
  let text = '';
  let at = start;
  while (at < end) {
    const first = source[at] as number;
    if (first < 0x80) {
      text += String.fromCharCode(first);
      at += 1;
      continue;
    }
    const bytes = sequenceBytes(first);
    if (bytes === 0 || at + bytes > end) return undefined;
    const point = codePoint(source, at, bytes);
    if (point < 0) return undefined;
    text += String.fromCodePoint(point);
    at += bytes;
  }
  return text;
}

/** How long the sequence is that a non-ASCII byte begins; 0 where none begins with it. */
function sequenceBytes(first: number): number {
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xf0 && first < 0xf5) return 4;
  return 0;
}

/** Smallest code point that needs 2, 3 and 4 bytes: anything lower is an overlong form. */
const SMALLEST = [0, 0, 0x80, 0x800, 0x10000] as const;

function codePoint(source: Uint8Array, at: number, bytes: number): number {
  let point = (source[at] as number) & (0x7f >> bytes);
  for (let i = 1; i < bytes; i++) {
    const next = source[at + i] as number;
    if ((next & 0xc0) !== 0x80) return -1;
    point = (point << 6) | (next & 0x3f);
  }
  if (point < (SMALLEST[bytes] as number) || point > 0x10ffff) return -1;
  return point >= 0xd800 && point <= 0xdfff ? -1 : point;
}

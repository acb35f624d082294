// What the parts of a client of the stop loop share.
import { writeSync } from 'node:fs';
import { endProcess } from '../../../dist/runtime/node/end-process.js';

const PASSING = ['Unavailable', 'Timeout', 'OutcomeUnknown', 'Busy', 'NoSpace'];

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const below = (end) => Math.floor(Math.random() * end);
export const pick = (list) => list[below(list.length)];

/** Whatever must never be: said, and the process ends with a code that the loop looks at. */
export function fail(what) {
  writeSync(2, `stop client ${process.argv[3]}: ${what}\n`);
  endProcess(3);
}

/** Failures that blows explain, and those that the operation may meet besides. */
export function mustBePassing(error, what, codes = []) {
  if (PASSING.includes(error.code) || codes.includes(error.code)) return error.code;
  fail(`${what}: ${error.stack}`);
}

/** Again and again, until it is done or has ended with one of these codes. */
export async function persist(what, run, codes = []) {
  for (let i = 0; i < 10_000; i++) {
    try {
      return { value: await run() };
    } catch (error) {
      const code = mustBePassing(error, what, codes);
      if (codes.includes(code)) return { code };
      await sleep(2 + below(20));
    }
  }
  fail(`${what}: never done`);
}

/** Where a byte is that nobody who writes into this area has written; -1: nowhere. */
export function foreignByte(bytes, mark) {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  const pattern = mark * 0x01010101;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if ((word & 0xf0f0f0f0) === pattern || word === 0) continue;
    for (let at = 4 * i; at < 4 * i + 4; at++) {
      if (bytes[at] !== 0 && (bytes[at] & 0xf0) !== mark) return at;
    }
  }
  for (let at = words.length << 2; at < bytes.length; at++) {
    if (bytes[at] !== 0 && (bytes[at] & 0xf0) !== mark) return at;
  }
  return -1;
}

/**
 * Random and mutated bytes against the decoders: they never throw, never take a frame whose
 * checksum is wrong, and what they take is exactly what its value encodes to.
 * `MEMRACK_FUZZ=1000000` sets the number of inputs, `MEMRACK_SEED` the first seed.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import type { Bytes } from '../runtime/network.js';
import { checkFrame, messageLength, messageType } from './frame.js';
import { FRAME_HEADER_BYTES, MESSAGE_HEADER_BYTES } from './limits.js';
import { CALLS, isCallType } from './messages.js';
import { CHECKSUM, framesOf, place, type SampleMessage, sealAgain } from './testing/frames.js';
import { type AnyStruct, bytesOf, SAMPLE_CALLS, sampleOf, STRUCTS } from './testing/samples.js';

const COUNT = Number(process.env['MEMRACK_FUZZ'] ?? 20_000);
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);
const RULES = { checksum: CHECKSUM, version: 1, flags: 0 };

function sampleFrame(prng: Prng): Bytes {
  const messages: SampleMessage[] = [];
  for (let i = 0; i <= prng.below(4); i++) {
    const call = SAMPLE_CALLS[prng.below(SAMPLE_CALLS.length)];
    if (call === undefined) continue;
    const body = bytesOf(call.request, sampleOf(call.request, prng, 30));
    messages.push({ type: call.type, sequence: i + 1, body });
  }
  return framesOf(false, messages);
}

function mutate(frame: Bytes, prng: Prng): void {
  const { bytes } = frame;
  for (let i = 0; i <= prng.below(3); i++) {
    const at = prng.below(bytes.length);
    const kind = prng.below(4);
    if (kind === 0) bytes[at] = prng.below(256);
    else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << prng.below(8));
    else if (kind === 2) frame.words[at >> 2] = prng.u32();
    else bytes.copyWithin(at, prng.below(bytes.length));
  }
}

/** Decodes every body of a frame that was accepted; what decodes must encode to the same bytes. */
function decodeAll(frame: Bytes, length: number): void {
  let at = FRAME_HEADER_BYTES;
  while (at < length) {
    const end = at + messageLength(frame, at);
    const type = messageType(frame, at);
    if (isCallType(type)) {
      const struct = CALLS[type].request as unknown as AnyStruct;
      const value = struct.decode(frame, at + MESSAGE_HEADER_BYTES, end);
      if (typeof value !== 'string') {
        expect(struct.invalid(value)).toBeNull();
        expect(bytesOf(struct, value)).toEqual(frame.bytes.slice(at + MESSAGE_HEADER_BYTES, end));
      }
    }
    at = end;
  }
}

test('a mutated frame is refused, or it is the old one', () => {
  let refused = 0;
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    const frame = sampleFrame(prng);
    const before = frame.bytes.slice();
    mutate(frame, prng);
    const after = frame.bytes.slice();
    const length = checkFrame(frame, 0, frame.bytes.length, RULES);
    if (length > 0) expect(after, `seed ${SEED + i}`).toEqual(before);
    else refused++;
  }
  expect(refused).toBeGreaterThan(COUNT * 0.8);
});

test('a mutated frame with a right checksum is decoded, or refused with a reason', () => {
  let accepted = 0;
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    const frame = sampleFrame(prng);
    mutate(frame, prng);
    sealAgain(frame, 0, frame.bytes.length);
    const length = checkFrame(frame, 0, frame.bytes.length, RULES);
    if (length <= 0) continue;
    accepted++;
    decodeAll(frame, length);
  }
  expect(accepted).toBeGreaterThan(COUNT * 0.1);
});

test('random bytes are refused, or waited for', () => {
  const input = place(4096);
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    const end = prng.below(200);
    for (let word = 0; word < 50; word++) input.words[word] = prng.u32();
    if (prng.below(2) === 0) input.words[0] = 0x314b524d;
    if (prng.below(2) === 0) input.words[1] = prng.below(40) * 8;
    expect(checkFrame(input, 0, end, RULES)).toBeLessThanOrEqual(0);
  }
});

test('random bytes are no struct, or exactly one', () => {
  const structs = [...STRUCTS.values()];
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    const struct = structs[prng.below(structs.length)];
    if (struct === undefined) continue;
    const bytes = new Uint8Array(8 * prng.below(20));
    for (let at = 0; at < bytes.length; at++) bytes[at] = prng.below(3) === 0 ? prng.below(256) : 0;
    const value = struct.decode({ bytes, view: new DataView(bytes.buffer) }, 0, bytes.length);
    if (typeof value !== 'string') expect(bytesOf(struct, value)).toEqual(bytes);
  }
});

test('every struct is read as it was written', () => {
  for (const [name, struct] of STRUCTS) {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const value = sampleOf(struct, new Prng(seed), 400);
        expect(struct.invalid(value), name).toBeNull();
        const bytes = bytesOf(struct, value);
        const read = struct.decode({ bytes, view: new DataView(bytes.buffer) }, 0, bytes.length);
        expect(read, name).toEqual(value);
      }),
      { numRuns: 30 },
    );
  }
});

import { expect, test } from 'vitest';
import type { Bytes } from '../runtime/network.js';
import { copyFromStream, copyToStream, SHORT_COPY_BYTES_MAX } from './short-copy.js';

function filled(bytes: number, by: (i: number) => number): Bytes {
  const buffer = new ArrayBuffer(bytes);
  const all = new Uint8Array(buffer).map((_, i) => by(i));
  new Uint8Array(buffer).set(all);
  const view = new DataView(buffer);
  return { bytes: new Uint8Array(buffer), view, words: new Int32Array(buffer) };
}

test('every length and place, and not a byte beside', () => {
  const pattern = (i: number): number => (i * 37 + 129) & 0xff;
  for (let bytes = 0; bytes <= SHORT_COPY_BYTES_MAX; bytes++) {
    for (let place = 0; place < 8; place++) {
      const stream = filled(128, pattern);
      const mine = new Uint8Array(128).fill(7);
      copyFromStream(mine, place, stream, 16, bytes);
      const expected = new Uint8Array(128).fill(7);
      expected.set(stream.bytes.subarray(16, 16 + bytes), place);
      expect(mine).toEqual(expected);
      const out = filled(128, () => 7);
      copyToStream(out, 16, stream.bytes, place, bytes);
      const padded = (bytes + 3) & ~3;
      const sent = new Uint8Array(128).fill(7).fill(0, 16, 16 + padded);
      sent.set(stream.bytes.subarray(place, place + bytes), 16);
      expect(out.bytes).toEqual(sent);
    }
  }
});

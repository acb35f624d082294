import { expect, test } from 'vitest';
import { list, pad, struct, text, u8, u16, u32, u53, u64, bytes, type Fields } from './struct.js';

const Element = struct('Element', 8, { number: u32, reserved: pad(4), name: text(20) });
const Everything = struct(
  'Everything',
  32,
  {
    small: u8,
    reserved: pad(1),
    middle: u16,
    large: u32,
    address: u53,
    wide: u64,
    count: u32,
    more: pad(4),
    at: text(300),
    blob: bytes(100),
    elements: list(Element, 10),
  },
  (value) => (value.count === 13 ? 'count is 13' : null),
);

function place(size: number) {
  const all = new Uint8Array(size).fill(0xee);
  return { bytes: all, view: new DataView(all.buffer) };
}

const value: Fields<typeof Everything> = {
  small: 255,
  middle: 65535,
  large: 4294967295,
  address: 2 ** 53 - 1,
  wide: { low: 1, high: 4294967295 },
  count: 7,
  at: 'grüße 🙂',
  blob: Uint8Array.of(1, 2, 3),
  elements: [
    { number: 1, name: '' },
    { number: 2, name: 'zwei' },
  ],
};

function encoded() {
  const target = place(512);
  const end = Everything.encode(target, 8, value);
  return { target, end };
}

test('what was written is read, and nothing around it is touched', () => {
  const { target, end } = encoded();
  expect(end).toBe(8 + Everything.encodedBytes(value));
  expect(end % 8).toBe(0);
  expect(Everything.decode(target, 8, end)).toEqual(value);
  expect([...target.bytes.subarray(0, 8), ...target.bytes.subarray(end)]).toEqual(
    Array.from({ length: 8 + 512 - end }, () => 0xee),
  );
  expect(target.view.getUint32(8 + Everything.offsets.large, true)).toBe(value.large);
});

test('what is decoded stays as it is when the buffer of a network is used again', () => {
  const { target, end } = encoded();
  const network = Buffer.from(target.bytes.buffer);
  const decoded = Everything.decode({ ...target, bytes: network }, 8, end);
  network.fill(0xee);
  expect(decoded).toEqual(value);
});

test('every shorter stretch is refused', () => {
  const { target, end } = encoded();
  for (let cut = 8; cut < end; cut++) {
    expect(typeof Everything.decode(target, 8, cut), `cut at ${cut}`).toBe('string');
  }
  expect(Everything.decode(target, 8, end + 8)).toBe('Everything: 8 bytes too many');
});

test('says what is wrong with a value', () => {
  const wrong = (part: Partial<typeof value>) => Everything.invalid({ ...value, ...part });
  expect(Everything.invalid(value)).toBeNull();
  expect(wrong({ small: 256 })).toContain('small');
  expect(wrong({ address: 2 ** 53 })).toContain('address');
  expect(wrong({ address: -1 })).toContain('address');
  expect(wrong({ large: 1.5 })).toContain('large');
  expect(wrong({ large: Number.NaN })).toContain('large');
  expect(wrong({ wide: { low: -1, high: 0 } })).toContain('wide.low');
  expect(wrong({ at: 'x'.repeat(301) })).toContain('at takes');
  expect(wrong({ at: 'ü'.repeat(151) })).toContain('at takes 302');
  expect(wrong({ at: '\ud800' })).toContain('surrogate');
  expect(wrong({ blob: new Uint8Array(101) })).toContain('blob');
  expect(
    wrong({ elements: Array.from({ length: 11 }, () => ({ number: 1, name: '' })) }),
  ).toContain('11 elements');
  expect(wrong({ elements: [{ number: -1, name: '' }] })).toContain('elements[0]: number');
  expect(wrong({ count: 13 })).toBe('count is 13');
});

test('refuses reserved bytes, large addresses, claimed lengths and the rule', () => {
  const refused = (change: (target: ReturnType<typeof place>) => void) => {
    const { target, end } = encoded();
    change(target);
    return Everything.decode(target, 8, end);
  };
  expect(refused((t) => t.view.setUint8(9, 1))).toContain('reserved bytes');
  expect(refused((t) => t.view.setUint32(8 + 12, 0x200000, true))).toContain('2^53');
  expect(refused((t) => t.view.setUint32(8 + 32, 0xffffffff, true))).toContain('at is cut short');
  expect(refused((t) => t.view.setUint32(8 + 32, 301, true))).toContain('at is cut short');
  expect(refused((t) => t.view.setUint8(8 + 36, 0xff))).toContain('not UTF-8');
  expect(refused((t) => t.view.setUint32(8 + 24, 13, true))).toContain('count is 13');
});

test('a declaration that does not add up is refused when it is loaded', () => {
  expect(() => struct('Bad', 16, { a: u32, b: u53, c: u32 })).toThrow('Bad.b: offset 4');
  expect(() => struct('Bad', 16, { a: u32 })).toThrow('4 bytes long, not 16');
  expect(() => struct('Bad', 4, { a: u32 })).toThrow('not a multiple of 8');
  expect(() => struct('Bad', 8, { t: text(3), a: u53 })).toThrow('after a variable one');
  expect(() => struct('Bad', 8, { 'a;b': u53 })).toThrow('not a plain name');
});

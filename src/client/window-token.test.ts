import { describe, expect, test } from 'vitest';
import { crc32c } from '../base/crc32c.js';
import { Prng } from '../base/prng.js';
import { GiB } from '../base/units.js';
import { MemrackError } from './error.js';
import { decodeToken, encodeToken, type WindowFacts } from './window-token.js';

const FACTS: WindowFacts = {
  space: 7,
  at: 3 * GiB - 4096,
  bytes: 8192,
  rights: 'rw',
  parts: [
    { window: 65_535, epoch: 0xffff_ffff },
    { window: 0, epoch: 1 },
  ],
};

const codeOf = (text: unknown) => {
  const facts = decodeToken(text);
  return facts instanceof MemrackError ? facts.code : undefined;
};

/** A token whose content was changed, with a checksum that fits. */
function forged(change: (view: DataView) => void, facts = FACTS): string {
  const text = encodeToken(facts);
  const hex = text.slice(4);
  const data = Uint8Array.from({ length: hex.length / 2 }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
  const view = new DataView(data.buffer);
  change(view);
  view.setUint32(data.length - 4, crc32c(data, 0, data.length - 4), true);
  return text.slice(0, 4) + [...data].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

test('a token gives back what was put into it', () => {
  expect(decodeToken(encodeToken(FACTS))).toEqual(FACTS);
  const one = { ...FACTS, at: 5, bytes: 1, rights: 'r' as const, parts: FACTS.parts.slice(1) };
  expect(decodeToken(encodeToken(one))).toEqual(one);
  expect(encodeToken(one)).toMatch(/^mw1-[0-9a-f]{72}$/);
});

describe('a text that is no token', () => {
  test('is refused, whatever it is', () => {
    const text = encodeToken(FACTS);
    const others = [
      ...[undefined, null, 7, {}, '', 'mw1-', 'mw1-zz', 'mw-00', 'hello', '\u{1f600}'],
      ...[text.toUpperCase(), `${text}00`, ` ${text}`, `${text}\n`, text.slice(0, -2)],
      ...[text.slice(0, -1), `mw1-${'00'.repeat(36)}`, `mw1-${'0'.repeat(1 << 20)}`],
    ];
    for (const other of others) expect(codeOf(other)).toBe('Invalid');
  });

  test('of a later version is told apart', () => {
    expect(codeOf(encodeToken(FACTS).replace('mw1-', 'mw2-'))).toBe('Unsupported');
  });

  test('is noticed by its checksum, whichever digit was changed', () => {
    const text = encodeToken(FACTS);
    for (let i = 4; i < text.length; i++) {
      const digit = text[i] === '0' ? '1' : '0';
      expect(codeOf(text.slice(0, i) + digit + text.slice(i + 1))).toBe('Invalid');
    }
  });

  test('is refused where it makes no sense, though its checksum fits', () => {
    expect(codeOf(forged(() => undefined))).toBe(undefined);
    const changes: ((view: DataView) => void)[] = [
      (view) => view.setUint32(0, 0, true),
      (view) => view.setUint32(0, 2 ** 27, true),
      (view) => view.setUint32(4, 2, true),
      (view) => view.setUint32(24, 65_536, true),
      (view) => view.setUint32(28, 0, true),
    ];
    for (const value of [Number.NaN, Infinity, -1, 0, 0.5, 2 ** 53, 2 ** 60, 5e-324]) {
      changes.push(
        (view) => view.setFloat64(8, value, true),
        (view) => view.setFloat64(16, value, true),
      );
    }
    // One region more, one less.
    for (const bytes of [GiB + 8192, 4096]) {
      changes.push((view) => view.setFloat64(16, bytes, true));
    }
    for (const change of changes) expect(codeOf(forged(change))).toBe('Invalid');
  });
});

test('any text is a token or refused', () => {
  const prng = new Prng(20_261_121);
  const text = encodeToken(FACTS);
  const letters = '0123456789abcdefABCxmw- \n\u00ff';
  for (let round = 0; round < 20_000; round++) {
    let changed = text;
    for (let i = prng.below(4); i >= 0; i--) {
      const at = prng.below(changed.length + 1);
      const letter = letters[prng.below(letters.length)] as string;
      const cut = prng.below(3) === 0 ? prng.below(20) : 1;
      changed = changed.slice(0, at) + letter + changed.slice(at + cut);
    }
    const facts = decodeToken(changed);
    if (!(facts instanceof MemrackError)) expect(changed).toBe(text);
    // Content that fits its checksum, and any bytes within.
    const any = decodeToken(
      forged((view) => {
        for (let i = 0; i < 3; i++) view.setUint8(prng.below(view.byteLength - 4), prng.below(256));
      }),
    );
    if (!(any instanceof MemrackError)) expect(decodeToken(encodeToken(any))).toEqual(any);
  }
});

import { afterEach, expect, test, vi } from 'vitest';
import { formatDuration, paint, Progress, table } from './terminal.js';

function screen(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, columns: 80, write: (text: string) => written.push(text), written };
}

afterEach(() => {
  vi.unstubAllEnvs();
  vi.useRealTimers();
});

test('a table lines up, numbers to the right', () => {
  const rows = [
    { name: 'a', bytes: 5 },
    { name: 'longer', bytes: 12345 },
  ];
  const text = table(rows, [
    { title: 'name', value: ({ name }) => name },
    { title: 'bytes', value: ({ bytes }) => String(bytes), isNumber: true },
  ]);
  expect(text).toBe('name    bytes\na           5\nlonger  12345\n');
  expect(table([], [{ title: 'name', value: () => '' }])).toBe('name\n');
});

test('colours only a terminal, and none with NO_COLOR', () => {
  vi.stubEnv('NO_COLOR', '');
  expect(paint(screen(true), 'red', 'x')).toBe('\u001b[31mx\u001b[0m');
  expect(paint(screen(false), 'red', 'x')).toBe('x');
  vi.stubEnv('NO_COLOR', '1');
  expect(paint(screen(true), 'red', 'x')).toBe('x');
});

test('without a terminal progress is one line per 10 %', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const out = screen(false);
  const progress = new Progress(out, 'reading', 1000);
  for (let i = 0; i < 100; i++) {
    vi.advanceTimersByTime(50);
    progress.add(10);
  }
  progress.end();
  expect(out.written.length).toBeLessThanOrEqual(10);
  expect(out.written.length).toBeGreaterThanOrEqual(8);
  expect(out.written.at(-1)).toContain('reading 100 %');
});

test('on a terminal it is a bar that goes away', () => {
  const out = screen(true);
  const progress = new Progress(out, 'reading', 1000);
  progress.add(500);
  expect(out.written.at(-1)).toContain('[############............]');
  progress.end();
  expect(out.written.at(-1)).toBe('\r\u001b[K');
});

test('durations read like what people say', () => {
  const times = [0.004, 5.44, 120, 5600, 59_970, 179_700, 184_000, 3_720_000, Infinity];
  const said = times.map(formatDuration);
  expect(said).toEqual([
    '4 us',
    '5.4 ms',
    '120 ms',
    '5.6 s',
    '1 min 0 s',
    '3 min 0 s',
    '3 min 4 s',
    '1 h 2 min',
    '?',
  ]);
});

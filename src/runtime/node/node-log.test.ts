import { expect, test } from 'vitest';
import { createLog, type LogFormat } from './node-log.js';
import type { LogLevel } from '../runtime.js';

function logOf(level: LogLevel, format: LogFormat) {
  const lines: string[] = [];
  let nowMs = 0;
  const say = (line: string) => void lines.push(line);
  const log = createLog({ level, format, role: 'controller', say, now: () => nowMs });
  return { log, lines, pass: (ms: number) => (nowMs += ms) };
}

test('one line of JSON per event, with the fields that are kept', () => {
  const { log, lines } = logOf('info', 'json');
  const error = new Error('no');
  log.write('warn', 'gone', { code: 'NODE_GONE', node: 'n1', count: 3n, error, time: 'mine' });
  log.write('debug', 'too small');
  log.write('info', 'two\nlines');
  expect(
    lines.map((line) => line.endsWith('\n') && line.indexOf('\n') === line.length - 1),
  ).toEqual([true, true]);
  const [event, plain] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(event).toMatchObject({ level: 'warn', role: 'controller', code: 'NODE_GONE' });
  expect(event).toMatchObject({ message: 'gone', node: 'n1', count: '3' });
  expect(event?.['time']).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  expect(event?.['error']).toContain('Error: no');
  expect(Object.keys(event ?? {}).slice(0, 5)).toEqual([
    'time',
    'level',
    'role',
    'code',
    'message',
  ]);
  expect(plain).toMatchObject({ code: 'EVENT', message: 'two\nlines' });
});

test('a line for people', () => {
  const { log, lines } = logOf('info', 'text');
  log.write('info', 'joined', { code: 'JOINED', node: 'n1', port: 7 });
  expect(lines[0]).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} info {2}controller: JOINED joined node=n1 port=7\n$/,
  );
});

test('what repeats itself is counted, and told when it comes again', () => {
  const { log, lines, pass } = logOf('info', 'json');
  for (let i = 0; i < 50; i++) log.write('warn', 'again', { i });
  log.write('warn', 'another', {});
  expect(lines).toHaveLength(11);
  pass(10_000);
  log.write('warn', 'again', {});
  log.write('warn', 'again', {});
  const last = lines.slice(11).map((line) => JSON.parse(line) as { dropped?: number });
  expect(last.map(({ dropped }) => dropped)).toEqual([40, undefined]);
});

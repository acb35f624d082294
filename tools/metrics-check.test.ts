import { describe, expect, it } from 'vitest';
import { lintMetrics, parseExposition } from './metrics-check.js';

const text = (name: string, kind: string, ...lines: string[]): string =>
  `# HELP ${name} Something.\n# TYPE ${name} ${kind}\n${lines.map((line) => `${line}\n`).join('')}`;
const lint = (...given: Parameters<typeof text>): string[] =>
  lintMetrics(parseExposition(text(...given)));

describe('the text format', () => {
  it('gives names, labels and numbers', () => {
    const given = text('a', 'gauge', 'a{x="1\\"\\n\\\\",y=""} 2.5e3', 'a -Inf');
    const [family] = parseExposition(given);
    expect(family).toMatchObject({ name: 'a', kind: 'gauge', help: 'Something.' });
    expect(family?.samples).toEqual([
      { name: 'a', labels: { x: '1"\n\\', y: '' }, value: 2500 },
      { name: 'a', labels: {}, value: -Infinity },
    ]);
  });

  it.each([
    ['a 1', 'no type'],
    [`${text('a', 'gauge', 'a 1')}${text('a', 'gauge')}`, 'a second time'],
    [text('a', 'gauge', 'a 1', 'a 2'), 'comes twice'],
    [text('a', 'gauge', 'b 1'), 'stands below'],
    [text('a', 'gauge', 'a{x=1} 1'), 'wrong labels'],
    [text('a', 'gauge', 'a{x="1" y="2"} 1'), 'wrong labels'],
    [text('a', 'gauge', 'a one'), 'no number'],
    [text('a', 'meter', 'a 1'), 'wrong type'],
    [text('a', 'histogram', 'a 1'), 'stands below'],
  ])('refuses %j', (given, complaint) => {
    const ended = given.endsWith('\n') ? given : `${given}\n`;
    expect(() => parseExposition(ended)).toThrow(complaint);
  });
});

describe('the rules for metrics', () => {
  it.each([
    ['a_total', 'gauge', 'a_total 1'],
    ['a', 'counter', 'a 1'],
    ['a_count', 'gauge', 'a_count 1'],
    ['a_milliseconds', 'gauge', 'a_milliseconds 1'],
    ['a_ms', 'gauge', 'a_ms 1'],
    ['aB', 'gauge', 'aB 1'],
    ['a_gauge', 'gauge', 'a_gauge 1'],
    ['a', 'gauge', 'a{le="1"} 1'],
    ['a', 'gauge', 'a{xY="1"} 1'],
    ['a_total', 'counter', 'a_total -1'],
    ['a', 'gauge'],
    ['a', 'histogram', 'a_bucket{le="1"} 2', 'a_bucket{le="+Inf"} 1', 'a_sum 1', 'a_count 1'],
    ['a', 'histogram', 'a_bucket{le="1"} 1', 'a_sum 1', 'a_count 1'],
  ] as [string, string, ...string[]][])('are broken by %s', (...given) => {
    expect(lint(...given)).toHaveLength(1);
  });

  it('are kept by good ones', () => {
    const buckets = ['a_seconds_bucket{le="1"} 1', 'a_seconds_bucket{le="+Inf"} 3'];
    const given = ['a_seconds', 'histogram', ...buckets, 'a_seconds_sum 9', 'a_seconds_count 3'];
    expect(lint(...(given as [string, string]))).toEqual([]);
    expect(lint('a_bytes', 'gauge', 'a_bytes{node="n"} 1')).toEqual([]);
    expect(lintMetrics(parseExposition('# TYPE a gauge\na 1\n'))).toEqual(['a: no help text']);
  });
});

// What is shipped for Prometheus and Grafana speaks of metrics that there are, and every alert has
// its run-book.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { anchorOf } from './docs-check.js';
import { boardExpressions, selectorsOf } from './promql.js';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
}

const { groups } = parse(read('deploy/prometheus/alerts.yml')) as {
  groups: { name: string; rules: Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);
const board = JSON.parse(read('deploy/grafana/memrack.json')) as Parameters<
  typeof boardExpressions
>[0];

/** Series by name, with their labels; from the page that is made from the code. */
const series = new Map<string, string[]>([['up', ['job', 'instance']]]);
for (const [, name = '', labels = '', kind] of read('docs/metrics.md').matchAll(
  /^\| `(\w+)(?:\{(.*?)\})?` \| (\w+) \|/gm,
)) {
  const own = labels.split(',').filter((label) => label !== '');
  if (kind === 'histogram') {
    series.set(`${name}_bucket`, [...own, 'le']);
    series.set(`${name}_sum`, own);
    series.set(`${name}_count`, own);
  } else {
    series.set(name, own);
  }
}

describe('an expression', () => {
  it('is read by the grammar of Prometheus', () => {
    const expression =
      'sum by (x) (rate(a_total{b="1",c=~"d"}[5m])) > on () group_left () e offset 1m';
    expect(selectorsOf(expression)).toEqual([
      { metric: 'a_total', labels: ['b', 'c'] },
      { metric: 'e', labels: [] },
    ]);
  });

  it.each(['sum by (x (a)', 'rate(a[5m)', 'a >', 'a{b=1}', 'a b', ''])('refuses %j', (wrong) => {
    expect(() => selectorsOf(wrong)).toThrow('no expression');
  });
});

describe('what is shipped for Prometheus and Grafana', () => {
  const expressions = [...rules.map(({ expr }) => expr), ...boardExpressions(board)];

  it('asks for metrics and labels that there are', () => {
    expect(series.size).toBeGreaterThan(100);
    expect(expressions.length).toBeGreaterThan(60);
    for (const expression of expressions) {
      for (const { metric, labels } of selectorsOf(expression)) {
        const known = series.get(metric);
        expect(known, `${metric} in ${expression}`).toBeDefined();
        expect([...(known ?? [])], expression).toEqual(expect.arrayContaining([...labels]));
      }
    }
  });

  it('names every alert once, with a severity, a summary and its run-book', () => {
    const names = rules.map(({ alert }) => alert);
    expect(new Set(names).size).toBe(names.length);
    for (const { alert, labels, annotations } of rules) {
      expect(alert).toMatch(/^Memrack[A-Z][A-Za-z]+$/);
      expect(['critical', 'warning', 'info'], alert).toContain(labels['severity']);
      expect(annotations['summary'], alert).toMatch(/.{20,}\.$/);
      expect(annotations['runbook']).toBe(`docs/operating/alerts.md#${anchorOf(alert)}`);
    }
  });

  it('has a run-book for every alert, with what it means and what to do, and no other', () => {
    const sections = read('docs/operating/alerts.md').split(/^## /m).slice(1);
    const books = new Map(sections.map((text) => [text.split('\n')[0] ?? '', text]));
    expect([...books.keys()].sort()).toEqual(rules.map(({ alert }) => alert).sort());
    for (const [name, text] of books) {
      for (const part of ['**Means**', '**Look**', '**Do**']) {
        expect(text.includes(part), `${name}: ${part}`).toBe(true);
      }
    }
  });
});

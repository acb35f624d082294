// Every query of the board finds what it asks for in the metrics of a rack that is used. With
// Prometheus itself: test/conformance/prometheus.test.ts.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseExposition } from '../../tools/metrics-check.js';
import { boardExpressions, selectorsOf } from '../../tools/promql.js';
import { ROOT } from '../support/cli.js';
import type { TestRack } from '../support/rack.js';
import { startSeenRack, useRack } from '../support/seen-load.js';

let rack: TestRack;

beforeAll(async () => {
  rack = await startSeenRack();
});

afterAll(async () => {
  await rack?.stop();
});

test('every series that the board asks for is there', async () => {
  await useRack(rack.url);
  const text = await (await fetch(`${rack.url.replace('memrack:', 'http:')}/metrics`)).text();
  const samples = parseExposition(text).flatMap((family) => family.samples);
  const board = readFileSync(join(ROOT, 'deploy/grafana/memrack.json'), 'utf8');
  const selectors = boardExpressions(JSON.parse(board)).flatMap(selectorsOf);
  expect(selectors.length).toBeGreaterThan(40);
  for (const { metric, labels } of selectors) {
    const found = samples.filter(({ name }) => name === metric);
    expect(found.length, metric).toBeGreaterThan(0);
    for (const label of labels) expect(Object.keys(found[0]?.labels ?? {})).toContain(label);
  }
});

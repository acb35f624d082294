import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ConfigError } from '../base/config-error.js';
import {
  checkConfiguration,
  configurationPage,
  nearest,
  readConfiguration,
} from './configuration.js';

const problems = (json: unknown): readonly string[] => {
  try {
    checkConfiguration(json, 'test');
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};

test('without a file there are defaults', () => {
  expect(readConfiguration(undefined)).toMatchObject({ nodes: 3, memory: '1GiB', port: 7070 });
});

test('a file wins over defaults, and every wrong key is listed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-config-'));
  const path = join(folder, 'memrack.json');
  try {
    writeFileSync(path, '{ "nodes": 5 }');
    expect(readConfiguration(path)).toMatchObject({ nodes: 5, memory: '1GiB' });
    writeFileSync(path, '{ nodes: 5 }');
    expect(() => readConfiguration(path)).toThrow(/not JSON/);
    expect(() => readConfiguration(join(folder, 'none.json'))).toThrow(/cannot be read/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  expect(problems({ memroy: '1GiB' })).toEqual([
    'memroy: there is no such key; did you mean memory?',
  ]);
  const many = problems({ nodes: 0, port: 70_000, memory: '5 bananas', x: 1 });
  expect(many.map((problem) => problem.split(':')[0]).sort()).toEqual([
    'memory',
    'nodes',
    'port',
    'x',
  ]);
  expect(many.find((problem) => problem.startsWith('memory'))).toContain('64KiB or 1GiB');
  expect(problems('text')).toHaveLength(1);
  expect(problems(null)).toHaveLength(1);
});

test('suggests the key that was meant', () => {
  const meant = { node: 'nodes', Port: 'port', page_bytes: 'pageBytes', timeout: 'timeoutMs' };
  for (const [written, key] of Object.entries(meant)) expect(nearest(written)).toBe(key);
});

/** After a change of a key: npm test -- configuration -u */
test('docs/configuration.md is what the code says', async () => {
  await expect(configurationPage()).toMatchFileSnapshot('../../docs/configuration.md');
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { addTo, loadState, partOf, saveState } from './proof-state.js';
import { ONE_SIDED_PART, PLANTED_PART, proofText, SEEDS_PART } from './proof-text.js';

const folder = mkdtempSync(join(tmpdir(), 'memrack-proof-'));
const path = join(folder, 'cache/state.json');

afterAll(() => rmSync(folder, { recursive: true }));

describe('the state of the proof', () => {
  it('goes on with the same commit and begins anew with another', () => {
    const state = loadState(path, 'abc', false);
    const part = partOf(state, 'seeds');
    part.done = 7;
    addTo(part, 'operations', 5);
    addTo(part, 'operations', 6);
    saveState(path, state);
    expect(partOf(loadState(path, 'abc', false), 'seeds')).toMatchObject({
      done: 7,
      sums: { operations: 11 },
    });
    expect(loadState(path, 'def', false).parts).toEqual({});
    expect(loadState(path, 'abc', true).parts).toEqual({});
  });

  it('begins anew where the file makes no sense', () => {
    const broken = join(folder, 'broken.json');
    writeFileSync(broken, '{');
    expect(loadState(broken, 'abc', false).parts).toEqual({});
  });

  it('is written as a page', () => {
    const state = loadState(join(folder, 'none.json'), 'abc', false);
    const simulated = partOf(state, SEEDS_PART);
    addTo(simulated, 'fault kill injected', 9);
    addTo(simulated, 'fault kill mattered', 8);
    partOf(state, PLANTED_PART).lines.push('some-bug found in 3 seeds: foreign');
    addTo(partOf(state, ONE_SIDED_PART), 'workload locks', 4);
    const text = proofText(state, '2 processors', () => 77);
    expect(text).toContain('- Commit: abc');
    expect(text).toContain(`| ${PLANTED_PART} | 0 | 77 | 0 |`);
    expect(text).toContain('| kill | 9 | 8 |');
    expect(text).toContain('by workload: locks 4.');
    expect(text).toContain('some-bug found in 3 seeds');
  });
});

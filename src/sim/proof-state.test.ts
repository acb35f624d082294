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
    const state = loadState(path);
    const part = partOf(state, 'seeds', 'abc');
    part.done = 7;
    addTo(part, 'operations', 5);
    addTo(part, 'operations', 6);
    saveState(path, state);
    expect(partOf(loadState(path), 'seeds', 'abc')).toMatchObject({
      done: 7,
      sums: { operations: 11 },
    });
    expect(partOf(loadState(path), 'seeds', 'def').done).toBe(0);
  });

  it('keeps the parts of another commit', () => {
    const state = loadState(join(folder, 'none.json'));
    partOf(state, 'seeds', 'abc').done = 7;
    partOf(state, 'others', 'def').done = 1;
    const text = proofText(state, '2 processors', () => 77);
    expect(text).toContain('| seeds | 7 | 77 | 0 | abc |');
    expect(text).toContain('| others | 1 | 77 | 0 | def |');
  });

  it('begins anew where the file makes no sense', () => {
    const broken = join(folder, 'broken.json');
    writeFileSync(broken, '{');
    expect(loadState(broken).parts).toEqual({});
  });

  it('is written as a page', () => {
    const state = loadState(join(folder, 'none.json'));
    const simulated = partOf(state, SEEDS_PART, 'abc');
    addTo(simulated, 'fault kill injected', 9);
    addTo(simulated, 'fault kill mattered', 8);
    partOf(state, PLANTED_PART, 'abc').lines.push('some-bug found in 3 seeds: foreign');
    addTo(partOf(state, ONE_SIDED_PART, 'abc'), 'workload locks', 4);
    const text = proofText(state, '2 processors', () => 77);
    expect(text).toContain(`| ${PLANTED_PART} | 0 | 77 | 0 | abc |`);
    expect(text).toContain('| kill | 9 | 8 |');
    expect(text).toContain('by workload: locks 4.');
    expect(text).toContain('some-bug found in 3 seeds');
  });
});

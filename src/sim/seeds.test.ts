import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parseSimOptions } from './options.js';
import { PLANTED, plantedNamed, withPlanted } from './planted.js';
import { runSeed } from './run-seed.js';
import { isCounted, repeatCommand, sum } from './verdict.js';
import { WORKLOADS } from './workloads/all.js';

const NAMES = WORKLOADS.map((workload) => workload.name);
/** One of each kind: `npm run sim` plays seeds of all. */
const KINDS = ['registers', 'directory', 'kept-leases', 'one-sided-locks', 'datagrams', 'moves'];
/** Where memory and windows are taken away under those who use them, also amid many writes. */
const TAKEN_AWAY = ['NotAllocated', 'Stale', 'OutcomeUnknown'];

describe('a seed', () => {
  it.each(KINDS)('of %s runs a whole rack and finds nothing wrong', async (workload) => {
    const verdict = await runSeed({ seed: 3, workload });
    expect(verdict.violations).toEqual([]);
    expect(verdict.failure).toBeUndefined();
    expect(isCounted(verdict), `${verdict.operations} operations`).toBe(true);
  });

  it.each(NAMES)('of %s without faults has no answer but those of the rack', async (workload) => {
    const verdict = await runSeed({ seed: 4, workload, calm: true });
    expect(verdict.failure).toBeUndefined();
    expect(sum(verdict.injected)).toBe(0);
    const codes = [...verdict.endings.keys()].map((ending) => ending.split(' ')[1]);
    const answers = ['Ok', 'NoSpace', 'Denied', 'NotFound'];
    const others: Record<string, string[]> = {
      'one-sided': TAKEN_AWAY,
      // While somebody is connected still; and beyond the end of what has become smaller.
      'resized-devices': ['Conflict', 'OutcomeUnknown'],
    };
    const allowed = [...answers, ...(others[workload] ?? [])];
    expect(codes.filter((code) => !allowed.includes(code ?? ''))).toEqual([]);
  });

  it('takes the same course twice, and another one than its neighbour', async () => {
    const first = await runSeed({ seed: 5 });
    const second = await runSeed({ seed: 5 });
    const other = await runSeed({ seed: 10 });
    expect(second.traceHash).toBe(first.traceHash);
    expect(second.endings).toEqual(first.endings);
    expect(other.traceHash).not.toBe(first.traceHash);
  });
});

describe('planted bugs', () => {
  it('are found, and leave nothing behind', async () => {
    const bug = plantedNamed('retry-applied-twice');
    if (bug === undefined) throw new Error('it is gone');
    for (let seed = 1; seed <= 8; seed++) {
      const run = () => runSeed({ seed, workload: bug.workload });
      const verdict = await withPlanted(bug, run);
      if (verdict.failure === undefined) continue;
      expect(verdict.failure).toBe('correctness');
      expect(repeatCommand(verdict, bug.name)).toContain('--plant retry-applied-twice');
      expect((await run()).failure).toBeUndefined();
      return;
    }
    throw new Error('it was not found in 8 seeds');
  });

  it('are at least ten, each with a workload that exists', () => {
    expect(PLANTED.length).toBeGreaterThanOrEqual(10);
    for (const bug of PLANTED) expect(NAMES).toContain(bug.workload);
  });
});

describe('the words', () => {
  it('are understood or refused', () => {
    expect(parseSimOptions(['--seed', '7', '--workload', 'large'])).toMatchObject({ seed: 7 });
    expect(parseSimOptions([])).toMatchObject({ from: 1, ci: false });
    for (const words of [['--sede', '7'], ['--seed'], ['--seed', 'x'], ['--workload', 'none']]) {
      expect(typeof parseSimOptions(words)).toBe('string');
    }
  });
});

const MAIN = join(dirname(fileURLToPath(import.meta.url)), '../../dist/sim/main.js');

/** Other releases of Node, named by whoever runs the tests: paths with colons between. */
const OTHER_NODES = (process.env['MEMRACK_OTHER_NODES'] ?? '').split(':').filter(existsSync);

describe.runIf(existsSync(MAIN))('the built simulator', () => {
  const hash = async (node: string): Promise<string | undefined> => {
    const { stdout } = await promisify(execFile)(node, [MAIN, '--seed', '8']);
    return /trace hash (\d+)/.exec(stdout)?.[1];
  };

  it('takes the same course in every process, on every release of Node that is here', async () => {
    const nodes = [process.execPath, process.execPath, ...OTHER_NODES];
    const hashes = await Promise.all(nodes.map(hash));
    expect(hashes[0]).toBeDefined();
    expect(new Set(hashes).size).toBe(1);
  });

  it('ends with 2 and says how it is used when it is used wrongly', async () => {
    const failed = promisify(execFile)(process.execPath, [MAIN, '--what']);
    await expect(failed).rejects.toMatchObject({ code: 2 });
  });
});

// MEMRACK_KILL_ROUNDS and MEMRACK_KILL_SEED choose how long and which; 10 rounds by default.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { everyPid, family, isAlive, memoryFiles, startRack, until } from '../support/rack.js';
import { KillLoop } from './kill-loop.js';

const ROUNDS = Number(process.env['MEMRACK_KILL_ROUNDS'] ?? 10);
const SEED = Number(process.env['MEMRACK_KILL_SEED'] ?? 1);
const ROUND_MS_MAX = 60_000;

test(
  `${ROUNDS} rounds of kill -9 lose nothing that was acknowledged`,
  async () => {
    const data = mkdtempSync(join(tmpdir(), 'memrack-kill-'));
    const rack = await startRack({ nodes: 2, extra: ['--data', data] });
    const loop = new KillLoop(rack, SEED);
    const story: string[] = [];
    try {
      await loop.start();
      for (let round = 0; round < ROUNDS; round++) story.push(await loop.round());
      await loop.finish();
      const pids = family(rack.child.pid ?? 0);
      const files = memoryFiles(pids);
      expect(files.size).toBe(6);
      rack.child.kill('SIGKILL');
      await until(20_000, () => (pids.some(isAlive) ? undefined : true));
      expect([...memoryFiles(everyPid())].filter((inode) => files.has(inode))).toEqual([]);
      const { acknowledged, unknown, checked, lost } = loop.totals;
      process.stderr.write(
        `kill loop: seed ${SEED}, ${story.join(' ')}: ${acknowledged} acknowledged, ` +
          `${unknown} unknown, ${checked} checked, ${lost} areas lost\n`,
      );
      expect(acknowledged).toBeGreaterThan(ROUNDS * 10);
    } catch (error) {
      const words = `seed ${SEED} after ${story.join(' ')}\n${rack.output()}`;
      throw new Error(`${(error as Error).message}: ${words}`, { cause: error });
    } finally {
      await loop.abandon();
      await rack.stop();
      rmSync(data, { recursive: true, force: true });
    }
  },
  60_000 + ROUNDS * ROUND_MS_MAX,
);

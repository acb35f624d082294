// Stopped, let go on and killed, in the middle of reading and writing memory without its node.
// MEMRACK_STOP_ROUNDS and MEMRACK_STOP_SEED choose how long and which; 5 rounds by default.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MiB } from '../../src/base/units.js';
import { everyPid, pidsOfRack, isAlive, memoryFiles, startRack, until } from '../support/rack.js';
import type { NodeCounts } from '../support/stop/node-counters.js';
import { StopLoop } from '../support/stop/stop-loop.js';
import {
  namedMemory,
  namesOfOpen,
  ownMemoryMax,
  whatIsOpen,
} from '../support/stop/what-is-open.js';

const ROUNDS = Number(process.env['MEMRACK_STOP_ROUNDS'] ?? 5);
const SEED = Number(process.env['MEMRACK_STOP_SEED'] ?? 1);
const ROUND_MS_MAX = 60_000;
const BACK_WITHIN_MS = 30_000;
const NODES = 3;
/** In so many rounds one at least is to be struck in the middle of a step, */
const ROUNDS_TO_MEET = 5;
/** and where by chance none was, so many times as many are made until one is. */
const ROUNDS_MORE = 4;
/** What a heap may grow to before it is looked through for what is not used any more. */
const GROWTH_MAX = 100 * MiB;

test(
  `${ROUNDS} rounds of stopped and killed processes change nothing that is not theirs`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'memrack-stop-'));
    const extra = ['--data', join(folder, 'data')];
    // One node each that is reached by TCP, by a Unix socket, and by rings.
    const locals = [`unix://${join(folder, 'unix')}`, `ring://${join(folder, 'ring')}`];
    const nodes = NODES - locals.length;
    const rack = await startRack({ nodes, memory: '5MiB', extra, locals });
    const loop = new StopLoop(rack, SEED, folder);
    const story: string[] = [];
    try {
      const openBefore = await settled(() => whatIsOpen(rack));
      const filesBefore = namedMemory();
      const ownBefore = ownMemoryMax(rack);
      await loop.start();
      const startMs = performance.now();
      const mustMeet = ROUNDS >= ROUNDS_TO_MEET;
      const isEnough = (): boolean => story.length >= ROUNDS && (!mustMeet || loop.totals.met > 0);
      while (!isEnough() && story.length < ROUNDS_MORE * ROUNDS) story.push(await loop.round());
      const seconds = (performance.now() - startMs) / 1000;
      const { touches, operations } = await loop.finish();
      await until(BACK_WITHIN_MS, async () => ((await isGivenBack(loop)) ? true : undefined));
      await loop.counters.close();
      await until(BACK_WITHIN_MS, () => {
        return whatIsOpen(rack).join() === openBefore.join() ? true : undefined;
      }).catch(() => expect(whatIsOpen(rack), namesOfOpen(rack)).toEqual(openBefore));
      const ownAfter = ownMemoryMax(rack);
      expect(ownAfter - ownBefore).toBeLessThan(GROWTH_MAX);
      await endsWithAll(rack);
      expect(namedMemory()).toEqual(filesBefore);
      const { blows, met, metTaken, heldBack, rested } = loop.totals;
      const copied = loop.counters.total('pagesCopiedOnRevoke');
      const moved = loop.counters.total('pagesMoved');
      process.stderr.write(
        `stop loop: seed ${SEED}, ${story.length} rounds in ${seconds.toFixed(0)} s, ` +
          `${JSON.stringify(blows)}: ${met} met a step, ${metTaken} of what was taken, ` +
          `${heldBack} slots held back, ${rested} frames rested, ${copied} pages copied, ` +
          `${moved} moved, ${touches} touches, ` +
          `${operations} counted operations, ${loop.checked} checked, ` +
          `nodes' own memory ${toMiB(ownBefore)} to ${toMiB(ownAfter)} MiB\n`,
      );
      if (mustMeet) expect(met).toBeGreaterThan(0);
      expect(touches).toBeGreaterThan(ROUNDS * 10);
    } catch (error) {
      const again = `MEMRACK_STOP_SEED=${SEED} MEMRACK_STOP_ROUNDS=${ROUNDS}`;
      const command = `${again} npx vitest run test/e2e/one-sided-loop`;
      const counts = JSON.stringify(await loop.counters.now().catch(String));
      const words = `after ${story.join(' ')}; again with: ${command}\n${counts}\n${rack.output()}`;
      throw new Error(`${(error as Error).message}: ${words}`, { cause: error });
    } finally {
      await loop.abandon();
      await rack.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
  120_000 + ROUNDS_MORE * ROUNDS * ROUND_MS_MAX,
);

const toMiB = (bytes: number): string => (bytes / MiB).toFixed(0);

/** No frame is used, or rests; no slot is taken; nobody is connected who should not be. */
async function isGivenBack(loop: StopLoop): Promise<boolean> {
  const all = await loop.counters.now();
  return all.length === NODES && all.every((one) => heldOf(one) === 0 && isLeft(one.fabric));
}

function heldOf(one: NodeCounts): number {
  const { framesUsed, framesResting, framesPromised, slotsAttached, slotsHeldBack } = one;
  return framesUsed + framesResting + framesPromised + slotsAttached + slotsHeldBack;
}

/** By the controller, the host, and whoever asks for these counts. */
function isLeft({ sessionsOpened, sessionsClosed }: NodeCounts['fabric']): boolean {
  return sessionsOpened - sessionsClosed <= 3;
}

/** What it says when it has said the same for a while. */
async function settled(ask: () => string[]): Promise<string[]> {
  let last = '';
  let since = performance.now();
  return until(BACK_WITHIN_MS, () => {
    const now = ask();
    if (now.join() !== last) since = performance.now();
    last = now.join();
    return performance.now() - since > 1_500 ? now : undefined;
  });
}

/** With the rack's process everything of it ends, and its memory is the machine's again. */
async function endsWithAll(rack: Awaited<ReturnType<typeof startRack>>): Promise<void> {
  const pids = pidsOfRack(rack);
  const files = memoryFiles(pids);
  expect(files.size).toBe(3 * NODES);
  for (const child of [rack.child, ...rack.locals]) child.kill('SIGKILL');
  await until(20_000, () => (pids.some(isAlive) ? undefined : true));
  expect([...memoryFiles(everyPid())].filter((inode) => files.has(inode))).toEqual([]);
}

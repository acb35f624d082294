// Clients over udp while the network or the processes at its ends misbehave: what they were told is
// true, no operation outlives its deadline, and afterwards all goes on.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROOT } from '../support/cli.js';
import { type CountReport, LINE_BYTES } from '../support/counting.js';
import { allFaults, countThrough, problemsOf } from '../support/counting-run.js';
import type { Faults } from '../support/fault-proxy.js';
import { type LossyRack, startLossyRack } from '../support/lossy-rack.js';
import { requiresNamespaces } from '../support/namespaces.js';
import { until } from '../support/rack.js';

const LINES = 16;
const TIMEOUT_MS = 1500;
const LONGER_THAN_THAT_MS = 2500;
const WITHIN_MS = 60_000;
const KEPT_LEAST = 2000;
const REPLAYED = 20_000;
const CALM: Partial<Faults> = { loss: 0, corruption: 0, isCut: false };

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

describe.runIf(requiresNamespaces())('datagrams over a bad network', () => {
  let lossy: LossyRack;
  /** Memory that was counted in, of all tests so far. */
  const areas: number[] = [];
  beforeAll(async () => {
    const keeping = { keeping: 1 };
    lossy = await startLossyRack({ seed: 3, toNode: keeping, toClient: keeping });
  });
  afterAll(() => lossy.stop());

  async function area(): Promise<number> {
    const at = await lossy.direct.alloc(LINES * LINE_BYTES);
    areas.push(at);
    return at;
  }

  function allMemory(): Promise<Uint8Array[]> {
    return Promise.all(areas.map((at) => lossy.direct.read(at, LINES * LINE_BYTES)));
  }

  /** Counts while something happens, and for a while after it; what was told must be true. */
  async function counting(happens: () => Promise<void>): Promise<CountReport> {
    const at = await area();
    const client = await lossy.client({ timeoutMs: TIMEOUT_MS });
    const command = { at, shared: LINES, own: 0, firstOwn: 0, increments: 1e9 };
    const running = client.count(command);
    const goesOn = async (): Promise<void> => {
      const before = await client.counted();
      await until(WITHIN_MS, async () => {
        return (await client.counted()) > before + 200 ? true : undefined;
      });
    };
    await goesOn();
    await happens();
    await lossy.proxy.set('both', CALM);
    await goesOn();
    await client.stopCounting();
    const report = await running;
    expect(problemsOf([report], await lossy.direct.read(at, LINES * LINE_BYTES))).toEqual([]);
    expect(report.late).toBe(0);
    await client.kill();
    return report;
  }

  test('a third is lost', async () => {
    await counting(async () => {
      await lossy.proxy.set('both', { loss: 0.3 });
      await pause(2000);
    });
  });

  test('a third is damaged', async () => {
    await counting(async () => {
      await lossy.proxy.set('both', { corruption: 0.3 });
      await pause(2000);
    });
  });

  for (const way of ['toNode', 'toClient'] as const) {
    test(`the way ${way === 'toNode' ? 'to the node' : 'back'} is cut for seconds`, async () => {
      const { words, refused } = await counting(async () => {
        await lossy.proxy.set(way, { isCut: true });
        await pause(LONGER_THAN_THAT_MS);
      });
      const unknown = words.reduce((sum, word) => sum + word.unknown, 0);
      // Nothing waits longer than it may: some ended without an answer.
      expect(unknown + refused).toBeGreaterThan(0);
    });
  }

  test('the node stands still for seconds', async () => {
    await counting(async () => {
      const [node] = await lossy.rack.nodes();
      process.kill(node?.pid ?? 0, 'SIGSTOP');
      await pause(LONGER_THAN_THAT_MS);
      process.kill(node?.pid ?? 0, 'SIGCONT');
    });
  });

  test('a client is killed in the middle, and others do not notice', async () => {
    const at = await area();
    const victim = await lossy.client();
    void victim.ask({ do: 'count', at, shared: LINES, own: 0, firstOwn: 0, increments: 1e9 });
    await counting(() => victim.kill());
  });

  test('the node is killed and comes back, and datagrams of before change nothing', async () => {
    await counting(async () => {
      await until(WITHIN_MS, async () => {
        const { toNode, toClient } = await lossy.proxy.stats();
        return Math.min(toNode.kept, toClient.kept) >= KEPT_LEAST ? true : undefined;
      });
      const [node] = await lossy.rack.nodes();
      process.kill(node?.pid ?? 0, 'SIGKILL');
      await pause(500);
    });
    // The last ones have their deadlines behind them, too.
    await pause(LONGER_THAN_THAT_MS);
    const before = await allMemory();
    for (const way of ['toNode', 'toClient'] as const) {
      expect(await lossy.proxy.replay(way, REPLAYED)).toBeGreaterThanOrEqual(KEPT_LEAST);
    }
    await pause(1000);
    expect(await allMemory()).toEqual(before);
  });
});

test.runIf(requiresNamespaces())('a node that remembers no change is found out', async () => {
  const faults = allFaults(0.05);
  const beginWith = join(ROOT, 'test/support/plant-unrecorded.mjs');
  const lossy = await startLossyRack({ seed: 1, toNode: faults, toClient: faults, beginWith });
  try {
    const result = await countThrough(lossy, {
      processes: 1,
      clientsEach: 4,
      shared: 32,
      own: 0,
      increments: 5000,
      timeoutMs: 10_000,
    });
    expect(result.problems.join('\n')).toMatch(/holds \d+, of \d+ acknowledged/);
  } finally {
    await lossy.stop();
  }
});

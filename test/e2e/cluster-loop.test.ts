// MEMRACK_CLUSTER_ROUNDS and MEMRACK_CLUSTER_SEED choose how long and which; 4 rounds by default.
import { expect, test } from 'vitest';
import { Cluster } from '../support/cluster.js';
import { enterNamespace } from '../support/enter-namespace.js';
import { requiresNamespaces } from '../support/namespaces.js';
import { everyPid, memoryFiles } from '../support/rack.js';
import { ClusterLoop, NODES } from './cluster-loop.js';

const ROUNDS = Number(process.env['MEMRACK_CLUSTER_ROUNDS'] ?? 4);
const SEED = Number(process.env['MEMRACK_CLUSTER_SEED'] ?? 1);
const ROUND_MS_MAX = 120_000;

test.runIf(requiresNamespaces())(
  `${ROUNDS} rounds of kill -9 and cuts on five machines lose nothing that was promised`,
  async () => {
    const cluster = new Cluster({ nodes: NODES, memory: '64MiB' });
    // This process is a client, and so are those that it starts.
    enterNamespace(cluster.clients);
    const loop = new ClusterLoop(cluster, SEED);
    const story: string[] = [];
    let files = new Set<number>();
    try {
      await loop.start();
      for (let round = 0; round < ROUNDS; round++) story.push(await loop.round(round));
      await loop.finish();
      process.stderr.write(`cluster loop: seed ${SEED}, ${loop.told}\n`);
      expect(loop.acknowledged).toBeGreaterThan(ROUNDS * 10);
      files = memoryFiles(cluster.pids());
      expect(files.size).toBeGreaterThanOrEqual(NODES);
      expect(await cluster.stop()).toBe(true);
      expect([...memoryFiles(everyPid())].filter((inode) => files.has(inode))).toEqual([]);
    } catch (error) {
      const told = `seed ${SEED}: ${loop.told}\n${story.join('\n')}\n${cluster.output}`;
      throw new Error(`${(error as Error).message}: ${told}`, { cause: error });
    } finally {
      await loop.abandon();
      await cluster.stop();
    }
  },
  60_000 + ROUNDS * ROUND_MS_MAX,
);

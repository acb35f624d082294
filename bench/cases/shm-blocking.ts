/** The synchronous form of 64-byte operations: a thread that blocks, on memory of this machine. */

import { connect } from '../../src/apps/library.js';
import {
  alternate,
  compare,
  compareTo,
  type Measured,
  type Result,
  rowOf,
  type Side,
} from '../harness.js';
import {
  BlockingThread,
  type BlockingWork,
  GROUP,
  timeGroups,
  turnOfGroups,
} from '../peers/blocking-thread.js';
import { type LmdbStore, openLmdb } from '../peers/lmdb.js';
import { sharedTurn } from '../peers/shared-buffer.js';
import { startRack } from '../rack.js';
import { BYTES, filledSpace, keyOf, KEYS } from './shm-lone.js';

const GROUPS = 40_000;
const SHARED_OPERATIONS = 5_000_000;
const HALF_A_MICROSECOND = { name: '0.5 us', value: 0.5 };

function peers(store: LmdbStore): Side[] {
  const get = async () => {
    const cpu = process.cpuUsage();
    const groupsMs = timeGroups(GROUPS, (first) => {
      for (let i = first; i < first + GROUP; i += 1) store.get(keyOf(i));
    });
    const { user, system } = process.cpuUsage(cpu);
    return turnOfGroups(groupsMs, user + system);
  };
  const copy = async () => {
    const { ns, cpuNs } = sharedTurn('atomic copy', SHARED_OPERATIONS);
    return { value: ns / 1000, cpuPerOperation: cpuNs / 1000 };
  };
  return [
    { name: 'LMDB get', turn: get },
    { name: 'SharedArrayBuffer, atomic copy', turn: copy },
  ];
}

export async function shmBlocking(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'shm' });
  const store = await openLmdb(KEYS, BYTES);
  const { space, at } = await filledSpace(memrack);
  const places = new Float64Array(KEYS).map((_, i) => at + keyOf(i) * BYTES);
  const thread = new BlockingThread(space, places);
  try {
    const works: BlockingWork[] = ['read', 'write', 'add', 'readMany'];
    const ours = works.map((work): Side => {
      const name = work === 'add' ? 'fetchAndAdd' : work;
      return { name: `blocking ${name}`, turn: () => thread.turn({ work, groups: GROUPS }) };
    });
    const sides = [...ours, ...peers(store)];
    const turns = await alternate(sides, rounds);
    const of = (i: number): Measured => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'shm-blocking',
      what: `${BYTES} B, ${KEYS} keys, by a thread without an event loop; microseconds of each`,
      unit: 'us',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: [
        ...ours.map((_, i) => compareTo(of(i), HALF_A_MICROSECOND, { atMost: 1 })),
        compare(of(0), of(4), {}),
        compare(of(0), of(5), {}),
      ],
      notes: [
        `median of groups of ${GROUP}, so that the clock weighs little; the copy is the mean`,
        `readMany takes ${GROUP} at a time`,
      ],
    };
  } finally {
    await thread.close();
    await store.close();
    await memrack.close();
    await rack.close();
  }
}

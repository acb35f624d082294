/**
 * What a program loses that takes memory which its machine has lent: in a control group of 1 GiB a
 * node has lent 700 MiB, all written, and the program takes 600; against the same program in the
 * group alone.
 */

import { join } from 'node:path';
import { connect, type Rack } from '../../src/apps/library.js';
import { endProgram, GroupPrograms, takeMemory } from '../../test/support/group-programs.js';
import { MemoryGroup } from '../../test/support/memory-group.js';
import {
  alternate,
  compare,
  cpuMicroseconds,
  onAllCores,
  type Result,
  rowOf,
  type Side,
  type Turn,
} from '../harness.js';
import { projectRoot, startRack } from '../rack.js';

const MIB = 2 ** 20;
const GROUP_MIB = 1024;
const SPACES = 7;
const SPACE_MIB = 100;
const TAKING = { takenMib: 600, rounds: 6 };
const READY_MS = 30_000;

async function until(ms: number, isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + ms;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function lentAndUsed(rack: Rack, id: string): Promise<[lent: number, used: number]> {
  const node = (await rack.nodes()).find((one) => one.id === id);
  return [node?.bytesLent ?? 0, node?.bytesUsed ?? 0];
}

async function fill(rack: Rack): Promise<void> {
  const chunk = new Uint8Array(MIB).fill(7);
  for (let i = 0; i < SPACES; i += 1) {
    const space = await rack.space(`lent-${i}`, { create: true });
    const at = await space.alloc(SPACE_MIB * MIB);
    for (let mib = 0; mib < SPACE_MIB; mib += 1) await space.write(at + mib * MIB, chunk);
  }
}

class Bench {
  readonly #programs = new GroupPrograms();
  readonly #group: MemoryGroup;

  constructor(group: MemoryGroup) {
    this.#group = group;
  }

  alone(): Side {
    const turn = async (): Promise<Turn> => {
      const { ms, by } = await takeMemory(this.#programs, TAKING, this.#group);
      const cpu = cpuMicroseconds(by.pid ?? 0);
      await endProgram(by);
      return { value: ms, cpuPerOperation: cpu / TAKING.takenMib };
    };
    return { name: 'in the group alone', turn };
  }

  /** A rack of its own each time, so that all that is lent is used, and in the group. */
  lending(): Side {
    const turn = async (): Promise<Turn> => {
      const rack = await startRack({ nodes: 1, memory: '4MiB' });
      const memrack = await connect(rack.url, { link: 'tcp' });
      try {
        return await this.#lendingTurn(memrack, rack.url.replace('memrack://', ''));
      } finally {
        await memrack.close();
        await this.#programs.end();
        await rack.close();
      }
    };
    return { name: 'where a node has lent most of it', turn };
  }

  async #lendingTurn(memrack: Rack, controller: string): Promise<Turn> {
    const lentBytes = SPACES * SPACE_MIB * MIB;
    const cli = join(projectRoot(), 'dist/cli/main.js');
    const node = [cli, 'memory-node', '--join', controller, '--memory', `${lentBytes / MIB}MiB`];
    await this.#programs.start('lends', [...node, '--id', 'donor'], this.#group);
    await until(READY_MS, async () => (await lentAndUsed(memrack, 'donor'))[0] === lentBytes);
    await fill(memrack);
    await this.#programs.start('lends', [...node, '--id', 'outside']);
    await until(READY_MS, async () => (await lentAndUsed(memrack, 'outside'))[0] === lentBytes);
    const before = this.#group.sharedBytes();
    const { ms, by } = await takeMemory(this.#programs, TAKING, this.#group);
    const takenAt = performance.now();
    const cpu = cpuMicroseconds(by.pid ?? 0);
    await until(READY_MS, async () => {
      const [lent, used] = await lentAndUsed(memrack, 'donor');
      return lent < lentBytes && used <= lent;
    });
    const extra = {
      'given back MiB': (before - this.#group.sharedBytes()) / MIB,
      'all of it ms after': performance.now() - takenAt,
    };
    return { value: ms, cpuPerOperation: cpu / TAKING.takenMib, extra };
  }
}

export async function donor(rounds: number): Promise<Result> {
  const group = MemoryGroup.make();
  if (group === undefined) throw new Error('there are no control groups that count memory here');
  group.limit(GROUP_MIB * MIB);
  try {
    const bench = new Bench(group);
    const sides = [bench.lending(), bench.alone()];
    const turns = await onAllCores(() => alternate(sides, rounds));
    const one = (i: number) => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'donor',
      what: `a program takes ${TAKING.takenMib} MiB in a control group of ${GROUP_MIB} MiB`,
      unit: 'ms',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: [compare(one(0), one(1), { atMost: 1.2 })],
      notes: [
        `lent and written: ${SPACES * SPACE_MIB} MiB, in ${SPACES} regions, to a node outside`,
        'all on all cores of the machine: the program, both nodes, and what moves between them',
        'the program hashes each MiB that it takes; processor time is its own, for each MiB',
      ],
    };
  } finally {
    group.remove();
  }
}

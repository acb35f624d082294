/** Locks in memory of this machine: alone, and wanted by eight processes all the time. */

import { connect, type Lock, type Rack, type Space } from '../../src/apps/library.js';
import {
  alternate,
  compare,
  compareTo,
  cpuMicroseconds,
  type Measured,
  quantileOf,
  type Result,
  rowOf,
  type Side,
  type Turn,
} from '../harness.js';
import { type LockUse, waitQuantile } from '../peers/lock-work.js';
import { type Partner, type PartnerLink, startPartner } from '../peers/partner.js';
import { type BenchRack, measured, startRack } from '../rack.js';

const USES = 100_000;
const USES_BY_MESSAGE = 10_000;
const PROCESSES = 8;
const TURN_MS = 1_000;
const TWO_MICROSECONDS = { name: '2 us', value: 2 };

function loneLock(name: string, rack: BenchRack, uses: number, lock: Lock): Side {
  const latencies = new Float64Array(uses);
  return {
    name,
    turn: async () => {
      const { wallMs, cpuPerOperation } = await measured(rack, uses, async () => {
        for (let i = 0; i < uses; i += 1) {
          const before = performance.now();
          const held = await lock.acquire();
          await held.release();
          latencies[i] = performance.now() - before;
        }
      });
      latencies.sort();
      const p99 = quantileOf(latencies, 0.99) * 1000;
      const extra = { mean: (wallMs * 1000) / uses, p99 };
      return { value: quantileOf(latencies, 0.5) * 1000, cpuPerOperation, extra };
    },
  };
}

export async function lockLone(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const shm = await connect(rack.url, { link: 'shm' });
  const tcp = await connect(rack.url, { link: 'tcp' });
  try {
    const space = await shm.space('bench', { create: true });
    const at = await space.alloc(16);
    await space.write(at, new Uint8Array(16));
    const byTcp = await tcp.space('bench');
    const sides = [
      loneLock('acquire and release, shm', rack, USES, space.lock(at)),
      loneLock('acquire and release, tcp', rack, USES_BY_MESSAGE, byTcp.lock(at + 8)),
    ];
    const turns = await alternate(sides, rounds);
    const of = (i: number): Measured => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'lock-lone',
      what: 'a lock that nobody else wants, taken and given back; median microseconds of each turn',
      unit: 'us',
      rows: sides.map((side, i) => rowOf(side, turns[i] ?? [])),
      comparisons: [compareTo(of(0), TWO_MICROSECONDS, { atMost: 1 }), compare(of(0), of(1), {})],
      notes: [],
    };
  } finally {
    for (const client of [shm, tcp] satisfies Rack[]) await client.close();
    await rack.close();
  }
}

/** The words that all processes use. */
interface Place {
  readonly space: Space;
  readonly lockAt: number;
  readonly counterAt: number;
}

/** These processes at once; the counter must be what they say. */
async function contendedTurn(
  partners: readonly Partner[],
  place: Place,
  link: PartnerLink,
): Promise<Turn> {
  const { space, lockAt, counterAt } = place;
  const counter = new Float64Array(1);
  const read = async (): Promise<number> => {
    await space.read(counterAt, new Uint8Array(counter.buffer));
    return counter[0] as number;
  };
  const before = await read();
  const cpu = partners.map(({ pid }) => cpuMicroseconds(pid));
  const order = { link, lockAt, counterAt, ms: TURN_MS };
  const uses = (await Promise.all(partners.map((one) => one.ask(order)))) as LockUse[];
  const used = partners.reduce((sum, { pid }, i) => sum + cpuMicroseconds(pid) - (cpu[i] ?? 0), 0);
  const total = uses.reduce((sum, one) => sum + one.uses, 0);
  const counted = (await read()) - before;
  if (counted !== total) throw new Error(`${total} uses of the lock counted ${counted}`);
  const shares = uses.map((one) => one.uses / total);
  const extra: Record<string, number> = {
    'wait p50 ms': waitQuantile(uses, 0.5),
    'p99 ms': waitQuantile(uses, 0.99),
    'p99.9 ms': waitQuantile(uses, 0.999),
    'longest ms': Math.max(...uses.map((one) => one.longestMs)),
  };
  if (uses.length > 1) {
    extra['smallest share %'] = 100 * Math.min(...shares);
    extra['largest share %'] = 100 * Math.max(...shares);
  }
  return { value: total / (TURN_MS / 1000), cpuPerOperation: used / total, extra };
}

export async function lockContended(rounds: number): Promise<Result> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const memrack = await connect(rack.url, { link: 'shm' });
  const partners: Partner[] = [];
  try {
    for (let i = 0; i < PROCESSES; i += 1) {
      partners.push(await startPartner('lock', rack.url, (i + 1) % 2));
    }
    const space = await memrack.space('bench', { create: true });
    const lockAt = await space.alloc(128);
    const place = { space, lockAt, counterAt: lockAt + 64 };
    await space.write(lockAt, new Uint8Array(128));
    const side = (count: number, link: PartnerLink): Side => ({
      name: `${count === 1 ? 'one process' : `${count} processes`}, ${link}`,
      turn: () => contendedTurn(partners.slice(0, count), place, link),
    });
    const sides = (['shm', 'tcp'] as const).flatMap((link) => [
      side(PROCESSES, link),
      side(1, link),
    ]);
    const turns = await alternate(sides, rounds);
    const of = (i: number): Measured => ({ side: sides[i] as Side, turns: turns[i] ?? [] });
    return {
      bench: 'lock-contended',
      what: 'one lock, taken to raise a counter: a read and a write; uses per second, together',
      unit: '/s',
      rows: sides.map((one, i) => rowOf(one, turns[i] ?? [])),
      comparisons: [compare(of(0), of(1), { atLeast: 0.5 }), compare(of(2), of(3), {})],
      notes: [
        'every use was counted once: the counter was compared with the uses after each turn',
        `an equal share is ${100 / PROCESSES} %`,
      ],
    };
  } finally {
    for (const partner of partners) partner.close();
    await memrack.close();
    await rack.close();
  }
}

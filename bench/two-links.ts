/** One rack, reached over udp and over tcp by the same process, at the same memory. */

import { connect, type Rack } from '../src/apps/library.js';
import { compare, type Comparison, type Goal, type Side, type Turn } from './harness.js';
import type { Place } from './loads.js';
import { type BenchRack, startRack } from './rack.js';

export interface TwoLinks {
  readonly rack: BenchRack;
  readonly udp: Place;
  readonly tcp: Place;
  close(): Promise<void>;
}

/** `bytes` of memory are allocated, and written once, so that no page is touched first. */
export async function startTwoLinks(bytes: number): Promise<TwoLinks> {
  const rack = await startRack({ nodes: 1, memory: '256MiB' });
  const racks: Rack[] = [];
  try {
    const tcp = await connect(rack.url, { link: 'tcp' });
    racks.push(tcp);
    const udp = await connect(rack.url, { link: 'udp' });
    racks.push(udp);
    const first = await tcp.space('bench', { create: true });
    const at = await first.alloc(bytes);
    const piece = new Uint8Array(Math.min(bytes, 2 ** 20)).fill(7);
    for (let i = 0; i < bytes; i += piece.length) await first.write(at + i, piece);
    return {
      rack,
      tcp: { space: first, at },
      udp: { space: await udp.space('bench'), at },
      close: async () => {
        for (const one of racks) await one.close();
        await rack.close();
      },
    };
  } catch (error) {
    for (const one of racks) await one.close();
    await rack.close();
    throw error;
  }
}

/** Of sides that stand in pairs, udp before tcp: the ratio of each pair. */
export function comparePairs(
  sides: readonly Side[],
  turns: readonly (readonly Turn[])[],
  goal: Goal,
): Comparison[] {
  const comparisons: Comparison[] = [];
  for (let i = 0; i + 1 < sides.length; i += 2) {
    const ours = { side: sides[i] as Side, turns: turns[i] ?? [] };
    const peer = { side: sides[i + 1] as Side, turns: turns[i + 1] ?? [] };
    comparisons.push(compare(ours, peer, goal));
  }
  return comparisons;
}

/**
 * Moves that nodes tell and the database does not: its row is durable before any node hears of a
 * move, and goes when no node tells it any more, so there are none but where the database is older
 * than the truth. See docs/internals/restore.md.
 */

import type { RegionIndex, SpaceId } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import { MoveState } from '../wire/messages.js';
import type { Metadata } from './metadata/metadata.js';
import type { MoveKnown } from './node-calls.js';

/** What the database knows of moves, at one moment. */
export interface MovesThen {
  /** By `regionKey`. */
  readonly epochs: ReadonlyMap<number, number>;
  readonly nextEpoch: number;
}

export function movesNow(metadata: Metadata): MovesThen {
  const epochs = new Map([...metadata.moves].map(([key, { epoch }]) => [key, epoch]));
  return { epochs, nextEpoch: metadata.next('epoch') };
}

/** Whether this node, asked `then`, tells of a move that this database has not begun. */
export function isAnyUnknown(
  metadata: Metadata,
  node: { readonly id: string; readonly memoryId: number },
  told: readonly MoveKnown[],
  then: MovesThen,
): boolean {
  const now = movesNow(metadata);
  return told.some(({ space, region, epoch, state }) => {
    const key = regionKey(space, region);
    const known = [then.epochs.get(key), now.epochs.get(key)];
    // Handed over by a process before. Where another node has it by now it is no news.
    if (epoch === 0) return known.every((one) => one === undefined) && isOwned(space, region);
    if (known.includes(epoch)) return false;
    // Begun and ended while it was asked.
    if (epoch >= then.nextEpoch && epoch < now.nextEpoch) return false;
    // A target that was not told of the end keeps for a while what has come.
    return state === MoveState.COMING ? epoch >= now.nextEpoch : true;
  });

  function isOwned(space: SpaceId, region: RegionIndex): boolean {
    const row = metadata.regionsOf(space).get(region);
    return row?.node === node.id && row.memoryId === node.memoryId && row.state === 'granted';
  }
}

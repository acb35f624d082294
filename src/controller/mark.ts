/**
 * Marks: how far a database had come. What the controller tells nodes about its own, and whether
 * what a node remembers shows that the database is older than the truth. See
 * docs/internals/restore.md.
 */
import type { ControllerMark } from '../disk/table-file.js';
import type { Metadata } from './metadata/metadata.js';
import type { HeldRegion } from './reconcile.js';

export const NO_MARK: ControllerMark = {
  controller: 0,
  commit: 0,
  life: 0,
  nextSpace: 0,
  nextEpoch: 0,
  instance: 0,
};

/** What is durable now, as told by this process. */
export function ownMark(metadata: Metadata): ControllerMark {
  return {
    controller: metadata.next('client'),
    commit: metadata.next('commit'),
    life: metadata.next('life'),
    nextSpace: metadata.next('space'),
    nextEpoch: metadata.next('epoch'),
    instance: metadata.instance,
  };
}

/**
 * Whether a node heard of changes that the database did not have when it was opened. Processes that
 * ended before all nodes had answered may have made commits with the numbers of those changes: so
 * what counts is the last commit that it has of the process that told the mark.
 */
export function isProof(metadata: Metadata, mark: ControllerMark): boolean {
  if (mark.controller !== metadata.next('client')) return false;
  if (mark.life > metadata.next('life')) return true;
  // Given out before it is told; a node may remember it by a move alone.
  if (mark.nextEpoch > metadata.next('epoch')) return true;
  if (mark.instance === metadata.instance) return false;
  return mark.commit > metadata.openedLast(mark.instance);
}

/** Whether a node that knows this controller holds what the database has not given out yet. */
export function isAhead(
  metadata: Metadata,
  mark: ControllerMark,
  held: readonly HeldRegion[],
): boolean {
  if (mark.controller !== metadata.next('client')) return false;
  return held.some((one) => {
    const isAbove = one.space >= metadata.next('space') || one.epoch >= metadata.next('epoch');
    return isAbove || isMissing(metadata, one);
  });
}

/**
 * The database is written before any node is told, so a region of a space that stands is in it, and
 * no holder has a later epoch; but what was jumped over may be missing after a restoration.
 */
function isMissing(metadata: Metadata, { space, region, epoch }: HeldRegion): boolean {
  if (metadata.activeSpace(space) === undefined || metadata.next('restores') > 0) return false;
  const row = metadata.regionsOf(space).get(region);
  if (row === undefined) return true;
  return epoch > row.epoch && metadata.moveOf(row) === undefined;
}

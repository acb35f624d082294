/**
 * What every placement policy sees, and what it answers: pure functions, chosen by name.
 *
 * The caller hands in only the nodes that may be chosen at all (alive, with room, of the right page
 * size); a policy ranks them and never has to refuse. Chance comes in as an argument, so that a
 * choice can be repeated from a seed.
 */

export interface Candidate {
  readonly node: string;
  /** Bytes without a frame's owner, as of the last heartbeat. */
  readonly bytesFree: number;
  /** Bytes promised by allocations, touched or not; may exceed what the node lends. */
  readonly bytesCommitted: number;
  /** Bytes of regions granted since the last heartbeat: not yet to be seen in the two above. */
  readonly bytesPromised: number;
  readonly bytesLent: number;
  /** Regions that the node owns, of all spaces. */
  readonly regions: number;
}

export interface Chance {
  /** An integer in [0, 2^32). */
  u32(): number;
  /** In [0, 1). */
  fraction(): number;
}

export interface PlacementRequest {
  /** At least one; the order is the caller's and stays the same between calls. */
  readonly candidates: readonly Candidate[];
  readonly chance: Chance;
  /** How many choices were made before this one, for policies that go round. */
  readonly turn: number;
}

/** The index of the chosen candidate. */
export type PlacementPolicy = (request: PlacementRequest) => number;

/** Free bytes once everything promised since the last heartbeat is counted; may be negative. */
export function freeAfterPromises(candidate: Candidate): number {
  return candidate.bytesFree - candidate.bytesPromised;
}

/** An even choice among `count`; the bias of the remainder is below 2^-20 for a thousand nodes. */
export function draw(chance: Chance, count: number): number {
  return chance.u32() % count;
}

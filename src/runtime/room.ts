/**
 * What programs of a machine could still take, and whether they wait for memory already.
 *
 * A control group limits its processes to less than the machine has; the limits of all groups that
 * a process is in hold for it. So the room is the least of all these, and `totalBytes` is the size
 * of that of them which has the least: a share of it means something.
 */

export interface Room {
  /** Without swapping and without anything being ended; undefined: nobody says so. */
  readonly availableBytes: number | undefined;
  /** Of the machine, or the limit of the group that has the least room. */
  readonly totalBytes: number | undefined;
  /**
   * The share of the last 10 s, in [0, 1], in which something waited for memory; undefined where
   * the kernel does not tell (pressure stall information).
   */
  readonly stalledShare: number | undefined;
  /** Why the group that was named is not looked at; empty when it is, or when none was named. */
  readonly problem: string;
}

/** Whether both numbers are there and can be true at all. */
export function isPlausible(room: Room): boolean {
  const { availableBytes, totalBytes } = room;
  if (availableBytes === undefined || totalBytes === undefined) return false;
  return availableBytes >= 0 && availableBytes <= totalBytes && Number.isFinite(totalBytes);
}

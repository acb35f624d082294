/** Whether a lease may change hands, from what all nodes of its set say about it. */

/** What one node says; undefined: it does not know the lease. */
export interface LeaseSeen {
  /** 0: nobody. */
  readonly holder: number;
  readonly epoch: number;
  /** Until it runs out there unless it is renewed; 0: it has. */
  readonly leftMs: number;
}

export type TakeOver =
  /** Somebody holds it, for at least so long. */
  | { readonly isFree: false; readonly holder: number; readonly leftMs: number }
  /** `epoch` is above every one that a node has seen. */
  | { readonly isFree: true; readonly epoch: number };

/**
 * One node where it has not run out is enough to wait: its holder may reach that node and not the
 * others. Who asks again for what it holds already gets it anew, because it may not know.
 */
export function judgeTakeOver(
  seen: readonly (LeaseSeen | undefined)[],
  asker: number,
  epochBefore: number,
): TakeOver {
  let epoch = epochBefore;
  let holder = 0;
  let leftMs = 0;
  for (const one of seen) {
    if (one === undefined) continue;
    epoch = Math.max(epoch, one.epoch);
    if (one.holder === 0 || one.holder === asker || one.leftMs <= leftMs) continue;
    holder = one.holder;
    leftMs = one.leftMs;
  }
  if (leftMs > 0) return { isFree: false, holder, leftMs };
  return { isFree: true, epoch: epoch + 1 };
}

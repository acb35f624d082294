/**
 * Regions that are here again, after they were another node's.
 *
 * A client may have sent an operation on such a region before the region left. If nothing came
 * through in time, it has ended that as unknown, and has gone on where the region was meanwhile.
 * What is still under way would be executed here, behind what the client did later. So what came
 * over a connection from before the return is not executed: the connection ends, and over the next
 * one comes what its client still waits for, and nothing else.
 */

import type { ClientSession } from '../../fabric/serve.js';
import type { Clock } from '../../runtime/clock.js';

/** Regions are given by `regionKey`. */
export class Returns {
  /** When the last one came; -1: none has. */
  latestMs = -1;
  readonly #clock: Pick<Clock, 'now'>;
  /** A process before this one has given regions away, and which ones is not known. */
  readonly #mayHaveLeft: boolean;
  readonly #left = new Set<number>();
  readonly #cameMs = new Map<number, number>();

  constructor(clock: Pick<Clock, 'now'>, mayHaveLeft: boolean) {
    this.#clock = clock;
    this.#mayHaveLeft = mayHaveLeft;
  }

  left(region: number): void {
    this.#left.add(region);
  }

  /** `isFromNode`: another node had it until now, as it may have had from this one. */
  came(region: number, isFromNode: boolean): void {
    const mayBeBack = this.#left.delete(region) || (isFromNode && this.#mayHaveLeft);
    if (!mayBeBack) return;
    this.latestMs = this.#clock.now();
    this.#cameMs.set(region, this.latestMs);
  }

  /** What comes over this connection may have been sent when the region was here before. */
  isFromBefore({ sinceMs }: Pick<ClientSession, 'sinceMs'>, region: number): boolean {
    return sinceMs <= this.latestMs && sinceMs <= (this.#cameMs.get(region) ?? -1);
  }
}

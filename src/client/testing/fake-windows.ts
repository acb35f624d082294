/** The windows over ranges that a memory node of the tests has opened. */

import { Status } from '../../base/status.js';
import type { Window } from '../../fabric/link.js';

type Reply = Record<string, unknown> & { readonly status: Status };

interface FakeRange {
  readonly base: number;
  readonly bytes: number;
  readonly rights: number;
  /** Its number plus 1; 0: none. */
  readonly parent: number;
  readonly epoch: number;
}

/** Windows over whole spaces have lower numbers and are always good. */
const FIRST_RANGE = 100;

export class FakeWindows {
  readonly #ranges = new Map<number, FakeRange>();
  #opened = 0;

  get size(): number {
    return this.#ranges.size;
  }

  open(request: FakeRange & { readonly parentEpoch: number }): Reply {
    const { parent, parentEpoch } = request;
    if (parent > 0 && this.#ranges.get(parent - 1)?.epoch !== parentEpoch) {
      return { status: Status.Stale, reason: '' };
    }
    this.#opened += 1;
    const epoch = 1000 + this.#opened;
    this.#ranges.set(FIRST_RANGE + this.#opened, { ...request, epoch });
    return { status: Status.Ok, window: FIRST_RANGE + this.#opened, epoch };
  }

  /** With all that were cut from it. */
  revoke(window: number, epoch: number): Reply {
    if (this.#ranges.get(window)?.epoch !== epoch) return { status: Status.Stale, reason: '' };
    this.#ranges.delete(window);
    for (const [child, { parent, epoch: own }] of this.#ranges) {
      if (parent - 1 === window) this.revoke(child, own);
    }
    return { status: Status.Ok };
  }

  /** A restart of the node: nothing that was opened before is good. */
  closeAll(): void {
    this.#ranges.clear();
  }

  statusOf(window: Window, address: number): Status {
    if (window.id < FIRST_RANGE) return Status.Ok;
    const range = this.#ranges.get(window.id);
    if (range?.epoch !== window.epoch) return Status.Stale;
    const isWithin = address >= range.base && address < range.base + range.bytes;
    return isWithin ? Status.Ok : Status.Denied;
  }
}

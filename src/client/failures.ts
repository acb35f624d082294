/**
 * What a failed operation is told as. Where its node is away, or does not know it any more, the
 * controller is asked what has become of the data: gone is `DataLost`, gone with its space is
 * `NotFound`, and neither is merely away.
 */

import { Status } from '../base/status.js';
import type { Runtime } from '../runtime/runtime.js';
import { REGION_BYTES } from '../wire/limits.js';
import { codeOf, type ErrorCode, MemrackError, spaceRemoved } from './error.js';
import type { Failed } from './operations.js';
import type { Routes } from './routes.js';

export const VERBS = ['read', 'write', 'compareAndSwap', 'fetchAndAdd'] as const;

/** Not for long: the controller may be away as well. */
const LOOK_AGAIN_MS = 1000;
const REGIONS_LOOKED_MAX = 4096;
const MIXED_REMEDY = 'write the range again, or read it to see what is there';
const SHM_REMEDY =
  "connect with the link 'auto', or run the program beside the memory node, as the same user";
const BUFFER_REMEDY =
  'leave the array alone until the promise settles; under a lease, stay with memory of its nodes';
const WINDOW_REMEDY = 'the window was revoked, or its node has restarted: ask for another one';

const REMEDIES: Partial<Record<ErrorCode, string>> = {
  Stale: WINDOW_REMEDY,
  Invalid: BUFFER_REMEDY,
};

/** After these it is asked what has become of the region. */
function mayHaveMoved(status: Status): boolean {
  return (
    status === Status.Unavailable ||
    status === Status.NotFound ||
    status === Status.Moved ||
    status === Status.Stale ||
    status === Status.OutcomeUnknown ||
    status === Status.Timeout ||
    status === Status.Closed
  );
}

/** Whether a space is closed, for all that belongs to it. */
export interface Life {
  isClosed: boolean;
}

export class Failures {
  readonly #runtime: Runtime;
  readonly #regions: Routes;
  readonly #space: string;
  readonly #life: Life;
  readonly #mayReopen: boolean;

  /** `mayReopen`: a window that is not good any more is opened anew by the next operation. */
  constructor(
    runtime: Runtime,
    regions: Routes,
    space: { readonly name: string; readonly life: Life },
    mayReopen: boolean,
  ) {
    this.#runtime = runtime;
    this.#regions = regions;
    this.#space = space.name;
    this.#life = space.life;
    this.#mayReopen = mayReopen;
  }

  judge(failed: Failed): MemrackError | Promise<MemrackError> {
    // Of a closed space nothing is asked any more.
    if (this.#life.isClosed || !mayHaveMoved(failed.status)) return this.#error(failed);
    return this.#lookAgain(failed);
  }

  async #lookAgain(failed: Failed): Promise<MemrackError> {
    const { status } = failed;
    if (status === Status.NotFound || status === Status.Stale) {
      for (const region of regionsOf(failed)) this.#regions.dropWindow(region);
    }
    const answer = await this.#regions.refresh(this.#runtime.clock.now() + LOOK_AGAIN_MS);
    if (answer === Status.NotFound) return this.#error({ ...failed, status: answer });
    for (const region of regionsOf(failed)) {
      if (this.#regions.state(region) !== 'lost') continue;
      return this.#error({ ...failed, status: Status.DataLost });
    }
    const isItself =
      this.#life.isClosed ||
      status === Status.OutcomeUnknown ||
      status === Status.Timeout ||
      (status === Status.Stale && !this.#mayReopen);
    // What has become of the region is not known yet, or its node has a new connection by now.
    return this.#error(isItself ? failed : { ...failed, status: Status.Unavailable });
  }

  #error(failed: Failed): MemrackError {
    const code = codeOf(failed.status);
    const { kind, address, bytes } = failed;
    const what = `${VERBS[kind]} of ${bytes} bytes at ${address} in space ${this.#space} failed`;
    if (code === 'NotFound') return spaceRemoved(what, failed.outcome);
    if (code === 'Unsupported') return this.#unsupported(failed, what);
    const isFinal = code === 'DataLost' || code === 'NotAllocated' || code === 'Denied';
    const remedy = REMEDIES[code];
    if (!failed.isPartial || isFinal || code === 'OutcomeUnknown') {
      return new MemrackError(code, what, { outcome: failed.outcome, remedy });
    }
    const cause = new MemrackError(code, what);
    const mixed = `${what} with ${code} after a part of it was written`;
    return new MemrackError('OutcomeUnknown', mixed, { remedy: MIXED_REMEDY, cause });
  }

  /** The memory cannot be reached without its node, which `connect` was told to insist on. */
  #unsupported(failed: Failed, what: string): MemrackError {
    const whys = [...regionsOf(failed)].map((region) => this.#regions.refusal?.(region));
    const why = whys.find((reason) => reason !== undefined);
    const told = why === undefined ? what : `${what}: ${why}`;
    return new MemrackError('Unsupported', told, { remedy: SHM_REMEDY, outcome: failed.outcome });
  }
}

/** The regions that the operation touches; of a very large one the first thousands. */
function regionsOf({ ranges }: Failed): Set<number> {
  const regions = new Set<number>();
  for (const { address, bytes } of ranges) {
    const last = Math.floor((address + bytes - 1) / REGION_BYTES);
    for (let region = Math.floor(address / REGION_BYTES); region <= last; region++) {
      if (regions.size >= REGIONS_LOOKED_MAX) return regions;
      regions.add(region);
    }
  }
  return regions;
}

/** What a memory node counts, in arrays that the data path adds to; shown as one JSON. */

import { type StatusName, statusName } from '../base/status.js';

const TYPES_MAX = 256;
const STATUS_MAX = 64;

export class NodeCounters {
  /** Data messages that were executed or refused, by type. */
  readonly operations = new Float64Array(TYPES_MAX);
  /** Refusals of data messages, by status. */
  readonly refusals = new Float64Array(STATUS_MAX);
  bytesRead = 0;
  bytesWritten = 0;
  allocations = 0;
  frees = 0;
  protects = 0;
  /** Times that a full bucket pushed the search for an address on (Clio, figure 4.13). */
  allocationRetries = 0;
  provisionalExpired = 0;
  windowsRefused = 0;
  /** Messages that found their page about to get another frame. */
  waitsForPausedPage = 0;

  /** Names of types are the caller's. */
  toJson(typeName: (type: number) => string): Record<string, unknown> {
    const { operations, refusals, ...sums } = { ...this };
    const named: Record<string, number> = {};
    operations.forEach((count, type) => {
      if (count !== 0) named[typeName(type)] = count;
    });
    const refused: Partial<Record<StatusName, number>> = {};
    refusals.forEach((count, status) => {
      const name = statusName(status);
      if (count !== 0 && name !== undefined) refused[name] = count;
    });
    return { operations: named, refusals: refused, ...sums };
  }
}

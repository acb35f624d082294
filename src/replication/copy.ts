/** One copy, as its writer reaches it: through a window that is bound to his epoch. */

import type { Status } from '../base/status.js';
import type { CompletionSink } from '../fabric/link.js';
import { PIECE_BYTES } from './layout.js';

/** Who writes this very array trims: the bytes are zeros then, and take no memory. */
export const ZEROS: Uint8Array = new Uint8Array(PIECE_BYTES);

/** Runs `work`, which moves so many bytes in the background, when its turn has come. */
export type Paced = <T>(bytes: number, work: () => Promise<T>) => Promise<T>;

export interface CopyVerbs {
  /**
   * It is in a file that is written behind the others: read last, and where its intent word was set
   * when the writer began it counts only if there is no other copy.
   */
  readonly isBackup?: boolean;
  /** Of such a one that learns: whether the area may hold something else than zeros. */
  mayHold?(area: number): boolean;
  /**
   * As the verbs of a link, from an offset in the copy; at most a piece, which is within one page.
   * What is started first takes effect first.
   */
  read(
    at: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void;
  write(
    at: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void;
}

/** Bytes of a copy, from a place on. */
export interface TornRange {
  readonly from: number;
  readonly bytes: number;
}

export interface Copy extends CopyVerbs {
  /** Random: of this copy and no other that was, or will be, at that node. */
  readonly id: number;
  /** For what is moved in the background, so that others hardly notice; missing: itself. */
  readonly inBackground?: CopyVerbs;
  /**
   * Blocks within a piece are zeros then, and give their memory back; in its order with the writes.
   * Missing: zeros are written.
   */
  trim?(at: number, bytes: number, sink: CompletionSink, token: number, deadline: number): void;
  /**
   * `tell` is called with what may have half of a write, whenever the way to the copy is opened and
   * before anything goes over it; until it is `mended`. Missing: nothing is ever torn there.
   */
  whenTorn?(tell: (ranges: readonly TornRange[]) => void): void;
  /** `Ok`: it is not told any more. */
  mended?(range: TornRange): Promise<Status>;
  /** Something ended so here: what it knows of its way may be old. */
  failed(status: Status): void;
  /** Done when they return, or `NOT_NOW`. */
  readNow(at: number, into: Uint8Array, start: number, bytes: number): number;
  writeNow(at: number, from: Uint8Array, start: number, bytes: number): number;
  /** False: `writeNow` would be `NOT_NOW`. */
  mayWriteNow(at: number, bytes: number): boolean;
}

/** `write`, of `ZEROS` in the way that takes no memory. */
export function writeOrTrim(
  copy: Copy,
  at: number,
  from: Uint8Array,
  start: number,
  bytes: number,
  sink: CompletionSink,
  token: number,
  deadline: number,
): void {
  if (from === ZEROS && copy.trim !== undefined) copy.trim(at, bytes, sink, token, deadline);
  else copy.write(at, from, start, bytes, sink, token, deadline);
}

export function isZeros(bytes: Uint8Array): boolean {
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 3);
  return words.every((word) => word === 0n);
}

/**
 * What the kernel of a machine does with memory that is short: groups of processes with a limit,
 * and swap. All of it takes root; all of it stays in the machine until it is taken down, whoever
 * made it.
 */

/** Why the machine does not do it; says what is missing, and what to do. */
export class PagingError extends Error {
  override readonly name = 'PagingError';
}

/** Of a control group since it was made; bytes, pages of 4,096, and processes. */
export interface GroupUse {
  readonly localBytes: number;
  readonly peakLocalBytes: number;
  readonly swappedBytes: number;
  /** Faults that waited for a page. */
  readonly pagesIn: number;
  /** That the kernel ended because the group was at its limit. */
  readonly killed: number;
}

/** Processes whose memory on this machine is limited together. */
export interface ControlGroup {
  readonly name: string;
  /** The words before a command that run it in here, in the place of themselves. */
  readonly enter: readonly string[];
  /** So much of their memory stays on the machine. */
  limit(bytes: number): void;
  /** Their memory goes to no swap; false: only others' goes there first (version 1). */
  keepFromSwap(): boolean;
  use(): GroupUse;
  processes(): number[];
  /** Ends all of them. */
  kill(): void;
  /** All that are in it are in the one above it from now on. */
  release(): void;
  /** When no process is left; false where one is. */
  remove(): boolean;
}

/** A disk that is a file. */
export interface LoopDevice {
  readonly path: string;
  /** From now on it goes when its last user has gone. */
  leave(): void;
}

/** A place where pages may go. */
export interface SwapArea {
  readonly path: string;
  readonly bytes: number;
  readonly usedBytes: number;
  readonly priority: number;
}

export interface Paging {
  /** `name` contains `memrack`. Throws a `PagingError`. */
  makeGroup(name: string): ControlGroup;
  /** One that somebody has made; undefined: there is none. */
  findGroup(name: string): ControlGroup | undefined;
  /** Direct I/O to the file or none at all, so that its pages are not kept twice. */
  attachLoop(file: string): LoopDevice;
  /** The loop devices of files of this name, by their paths: of a name that nobody else has. */
  loopsOf(fileName: string): string[];
  /** Makes all of a disk or file swap; `label` (at most 15 letters) contains `memrack`. */
  formatSwap(path: string, label: string): void;
  /** Pages go to places of a higher priority (0 to 32,767) first. */
  swapOn(path: string, priority: number): void;
  /**
   * Brings all pages back that are there; resolves to why not. It needs as much memory as they do,
   * and nothing of this process waits for it.
   */
  swapOff(path: string): Promise<PagingError | undefined>;
  swapAreas(): SwapArea[];
  /** Of processes of the machine that are meant; in whatever area. */
  swappedBytes(isMeant: (pid: number) => boolean): number;
}

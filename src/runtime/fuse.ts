/**
 * Files of the machine whose bytes a process of ours makes up: the kernel's side of /dev/fuse. What
 * the bytes of requests and answers mean is the concern of who serves them.
 */

import type { Bytes } from './network.js';

/** Requests of the kernel that are here, each with room for its answer. */
export interface FuseSlots {
  readonly count: number;
  /** What was read, its header first. */
  readonly input: readonly Bytes[];
  /**
   * For the answer, its header first. It lies within the input's memory, behind the first 4,000
   * bytes: what an answer puts there is put over the end of a longer request.
   */
  readonly output: readonly Bytes[];
}

/** Who serves the files of a mount. */
export interface FuseServer {
  /** A request of so many bytes is in the slot's input; it is the server's until `free`. */
  received(slot: number, bytes: number): void;
  /** Nothing comes any more, and nothing can be answered: it was unmounted, or given up. */
  ended(): void;
}

/** The other side of /dev/fuse, for who serves. */
export interface FuseKernel {
  readonly slots: FuseSlots;
  /** So many bytes of the slot's output are the answer to its request. */
  reply(slot: number, bytes: number): void;
  /** Nothing looks at the slot any more: the next request may come there. */
  free(slot: number): void;
  /**
   * What is in no slot: an answer, or something that nobody has asked for; all of `bytes`, with its
   * header. Resolves to whether the kernel took it. It may wait for answers, and holds none of them
   * up.
   */
  tell(bytes: Uint8Array): Promise<boolean>;
  /** Whether the thread of this number is being killed, so that nothing it waits for is wanted. */
  isBeingKilled(thread: number): boolean;
}

/** A mount that is served here. */
export interface FuseMount extends FuseKernel {
  /** Whose the files are. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Requests come from now on. */
  begin(server: FuseServer): void;
  /**
   * Takes the folder away: what is to be written is written first, and requests are served until
   * then; where files are open, they fail from then on. Idempotent.
   */
  close(): Promise<void>;
}

export interface ServeOptions {
  /** Requests at a time. */
  readonly slots: number;
  /** Of data in one request; a multiple of 4,096. */
  readonly dataBytesMax: number;
}

export interface MountOptions extends ServeOptions {
  /** Is made where it is not there; else empty, and nobody's. */
  readonly folder: string;
  /** What stands in the table of mounts; contains `memrack`. */
  readonly source: string;
}

export class FuseError extends Error {
  override readonly name = 'FuseError';
}

export interface Fuse {
  /** Rejects with a `FuseError` that says what is missing. */
  mount(options: MountOptions): Promise<FuseMount>;
  /**
   * The mount that another process of this machine made, by the number under which this one was
   * given it; one process at a time serves it. Its end is not that of the mount: `close` leaves
   * what waits to who serves next. Throws a `FuseError`.
   */
  serve(connection: number, options: ServeOptions): FuseMount;
}

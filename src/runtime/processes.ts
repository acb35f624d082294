/** Starting other processes of ours, and ending this one. */

import type { MemoryHandle } from './memory.js';

export interface Exit {
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

export interface Child {
  readonly pid: number;
  /** Resolves when the process has ended, however it ended. */
  readonly exited: Promise<Exit>;
  /** The first message that the child sent with `ready`. Rejects when it ends before. */
  readonly ready: Promise<unknown>;
  /** SIGTERM (ends after cleaning up) or SIGKILL. */
  end(signal: 'term' | 'kill'): void;
}

export interface SpawnOptions {
  /** A role's name; the process runs that role's `main`. */
  readonly role: string;
  /** JSON that the role's `main` is given. */
  readonly config: unknown;
  /** Memory files that the child may `adopt`, under the same handles. */
  readonly memory?: readonly MemoryHandle[];
}

export interface Processes {
  readonly pid: number;
  /**
   * Names this process and no other, on any machine at any time, for `hasEnded`. Printable, at most
   * 200 characters; empty where the system gives no such name.
   */
  readonly identity: string;
  /**
   * Whether the process with this `identity` has certainly ended. False while it runs or is
   * stopped, and whenever it cannot be known from here: of another machine, or an earlier boot.
   */
  hasEnded(identity: string): boolean;
  /** Whether `hasEnded` will be able to tell: it is of this boot of this machine, and so on. */
  canTell(identity: string): boolean;
  /** The child is killed by the operating system when this process ends, by `kill -9` too. */
  spawn(options: SpawnOptions): Child;
  /** Tells the parent (if it is one of ours) that this process serves. */
  ready(message: unknown): void;
  /** Ends this process now. */
  exit(code: number): never;
}

/**
 * Files with an explicit flush. What was written and not flushed may vanish when the machine
 * stops, in any order and torn at 8 bytes. All offsets and lengths are bytes.
 */

export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly kind: 'not-found' | 'exists' | 'full' | 'denied' | 'io';

  constructor(kind: DiskError['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface File {
  /** Reads up to `into.length` bytes; fewer only at the end of the file. Returns the number. */
  read(offset: number, into: Uint8Array): Promise<number>;
  /** Writes all of `from`, or rejects; then any part of it may have been written. */
  write(offset: number, from: Uint8Array): Promise<void>;
  /** When it resolves, everything written before the call survives. A failure is final: stop. */
  flush(): Promise<void>;
  size(): Promise<number>;
  truncate(bytes: number): Promise<void>;
  close(): Promise<void>;
}

export interface Disk {
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<File>;
  /** Atomic; durable after `flushDirectory` of the folder. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  list(folder: string): Promise<string[]>;
  makeFolder(path: string): Promise<void>;
  /** When it resolves, names created, renamed and removed in the folder survive. */
  flushDirectory(folder: string): Promise<void>;
}

/** What clients know of memory on disks that only one of them writes to. */

/** One word, and what is known of it. */
export interface DurableWord {
  readonly at: number;
  readonly page: number;
  /** Who has written here and nobody else: the upper part of every value. */
  readonly mark: number;
  /** The last number that was written, or may have been. */
  written: number;
  /** The last whose write was answered with success. */
  acknowledged: number;
  /** The last that was read, and nobody has said since that it may be gone. */
  seen: number;
  /** When the read of that began. */
  seenMs: number;
  /** A flush has confirmed this one, or a later one. */
  flushed: number;
  /** The last number that a client before this one wrote, or may have written. */
  inherited: number;
  /** A write of it may still come, whatever becomes of its client. */
  isUnderWay: boolean;
}

/** Memory that was allocated at once. */
export interface DurablePiece {
  readonly at: number;
  readonly bytes: number;
  readonly words: readonly DurableWord[];
  /** A write of a client that was killed may still come. */
  readonly isDoubtful: boolean;
}

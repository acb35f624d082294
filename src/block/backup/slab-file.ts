/** What the slabs of a backup need of its file. */

import type { Status } from '../../base/status.js';
import type { SlabLayout } from '../../replication/layout.js';
import type { Checksum } from '../../runtime/runtime.js';
import type { FilePlan } from './layout.js';
import type { PendingBlocks } from './pending.js';
import type { RecordWriter } from './record-writer.js';

/**
 * Of slabs that were in the file: areas that may lack what was acknowledged. Of slabs that are not
 * named any area may that is not clean.
 */
export type Behind = ReadonlyMap<number, ReadonlySet<number>>;

/** `ending`: it may still get to the disk. `failed`: it is nowhere any more. */
export type Unwritten = 'ending' | 'failed';

export interface SlabFile {
  /** Random: rows name the file by it. */
  readonly id: number;
  readonly layout: SlabLayout;
  readonly plan: FilePlan;
  readonly checksum: Checksum;
  readonly records: RecordWriter;
  /** By blocks, and areas, of the whole file. */
  readonly pending: PendingBlocks;
  /** What the writer before knew of it, if that was of this process and nobody came between. */
  readonly known: Behind | undefined;
  /** `Ok`; or what everything that is written ends with. */
  readonly failure: Status;
  read(at: number, into: Uint8Array): Promise<number>;
  /** When there may be room for so many blocks; or what is wrong, at `deadline` at the latest. */
  room(blocks: number, deadline: number): Promise<Status>;
  /** Something is pending. */
  wake(): void;
  /** All that was taken before is with the disk, and safe after the next flush. */
  written(): Promise<Status>;
  /** `clean` is called when nothing of the area is pending, unless it is kept open before. */
  close(area: number, clean: () => void): void;
  keepOpen(area: number): void;
  isClosing(area: number): boolean;
}

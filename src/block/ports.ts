/** What a device needs of the rack; docs/internals/block-devices.md says what each of it does. */

import type { Status } from '../base/status.js';
import type { Copy } from '../replication/copy.js';
import { BACKUP_SPACE } from '../wire/limits.js';
import type { BackupSlab } from './backup/backup-slab.js';

/** A copy of a slab, and where it is. */
export interface CopyPlace {
  /** Random: of this copy and no other. */
  readonly copy: number;
  readonly node: string;
  /** Of the node, when it was taken: other memory of that name does not have it. */
  readonly memoryId: number;
  readonly space: number;
  readonly address: number;
}

/** In the file of a host; its number is that of the file. */
export const isBackup = ({ space }: CopyPlace): boolean => space === BACKUP_SPACE;

export const backupPlace = (file: number): CopyPlace => {
  return { copy: file, node: '', memoryId: 0, space: BACKUP_SPACE, address: 0 };
};

/** The file behind a device, where this host has it. */
export interface DeviceBackup {
  readonly id: number;
  /** `Ok`; or what everything that is written to it ends with. */
  readonly failure: Status;
  slab(slab: number): BackupSlab;
  /** All that was taken before is on the disk. */
  flush(): Promise<Status>;
}

/** Which copies of a slab count. */
export interface SetRow {
  readonly slab: number;
  readonly generation: number;
  readonly copies: readonly CopyPlace[];
}

export interface SetAnswer {
  readonly status: Status;
  /** With `Conflict`. */
  readonly row?: SetRow | undefined;
}

export interface SlabNode {
  readonly id: string;
  /** That it lends now; 0: its memory is gone for good. */
  readonly memoryId: number;
  readonly machine: string;
  /** Some seconds old, as the next two. */
  readonly bytesLent: number;
  readonly bytesFree: number;
  readonly bytesCommitted: number;
  /** Whether new copies may go there. */
  readonly isServing: boolean;
  /** It is being drained: copies that are there are to go elsewhere. */
  readonly isLeaving: boolean;
}

/** How a copy is used, as its node is told. */
export interface CopyUse {
  readonly copy: number;
  /** Of its slab, as `Activity` tells it. */
  readonly activity: number;
  /** Another one is being made in its place. */
  readonly isGoing: boolean;
}

/** Of copies that the node asked about in this round. */
export interface UseTold {
  readonly round: number;
  readonly slabs: readonly CopyUse[];
}

/** What a node says of itself. */
export interface DonorWish {
  readonly round: number;
  /** It has to give memory back. */
  readonly isShort: boolean;
  /** Copies whose use it wants to be told. */
  readonly asked: readonly number[];
  /** Copies that are to go elsewhere. */
  readonly going: readonly number[];
}

/** For as long as the lease is held; calls take some seconds at most, and never reject. */
export interface DeviceRack {
  /** As they were a second ago at most; undefined: the controller does not answer. */
  nodes(): Promise<readonly SlabNode[] | undefined>;
  /** Memory of a node, under the lease's epoch. What may have been taken in vain is given back. */
  take(node: string, slab: number, copy: number): Promise<CopyPlace | Status>;
  /** For good: no row may name it, now or later. Goes on until it is known to be gone. */
  give(place: CopyPlace): void;
  /** By compare-and-swap on the generation; where it is refused for that, with the row there is. */
  putSet(row: SetRow): Promise<SetAnswer>;
  /** Whether a node says, after this was asked, that the lease is held still. */
  confirm(): Promise<boolean>;
  copyAt(place: CopyPlace): Copy;
  /** How copies at a node are used. Undefined: it does not answer. */
  tellUse(node: string, memoryId: number, told: UseTold): Promise<DonorWish | undefined>;
  /** Nodes that are away and have none of these copies are not to hold up whoever comes next. */
  leaveUnused(used: ReadonlySet<string>): void;
  /** A call was answered as it is for somebody who is not the writer any more. */
  lose(why: string): void;
}

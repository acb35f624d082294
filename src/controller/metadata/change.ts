/** What a commit is made of. */
import type { SpaceId } from '../../base/brands.js';
import type {
  CounterName,
  CutRow,
  DeviceRow,
  DiskRow,
  DoubtfulFileRow,
  DrainRow,
  EventRow,
  FileRow,
  GarbageRow,
  KeptRow,
  LeaseRow,
  MoveRow,
  NodeRow,
  RegionRow,
  RemovedDeviceRow,
  SlabSetRow,
  SpaceRow,
  StartRow,
} from './schema.js';

/** One change of one table. Rows are never changed in place. */
export type MetadataChange =
  | { readonly table: 'counters'; readonly put: { readonly name: CounterName; next: number } }
  | { readonly table: 'nodes'; readonly put: NodeRow }
  | { readonly table: 'nodes'; readonly remove: string }
  | { readonly table: 'disks'; readonly put: DiskRow }
  | { readonly table: 'disks'; readonly remove: string }
  | { readonly table: 'kept'; readonly put: KeptRow }
  | { readonly table: 'kept'; readonly remove: KeptRow }
  | { readonly table: 'spaces'; readonly put: SpaceRow }
  | { readonly table: 'spaces'; readonly remove: SpaceId }
  | { readonly table: 'regions'; readonly put: RegionRow }
  | { readonly table: 'regions'; readonly remove: RegionRow }
  | { readonly table: 'files'; readonly put: FileRow }
  | { readonly table: 'files'; readonly remove: string }
  | { readonly table: 'garbage'; readonly put: GarbageRow }
  | { readonly table: 'garbage'; readonly remove: Place }
  | { readonly table: 'leases'; readonly put: LeaseRow }
  | { readonly table: 'leases'; readonly remove: string }
  | { readonly table: 'doubtfulFiles'; readonly put: DoubtfulFileRow }
  | { readonly table: 'doubtfulFiles'; readonly remove: string }
  | { readonly table: 'moves'; readonly put: MoveRow }
  | { readonly table: 'moves'; readonly remove: MoveRow }
  | { readonly table: 'drains'; readonly put: DrainRow }
  | { readonly table: 'drains'; readonly remove: string }
  | { readonly table: 'devices'; readonly put: DeviceRow }
  | { readonly table: 'devices'; readonly remove: string }
  | { readonly table: 'slabSets'; readonly put: SlabSetRow }
  | { readonly table: 'slabSets'; readonly remove: SlabPlace }
  | { readonly table: 'removedDevices'; readonly put: RemovedDeviceRow }
  | { readonly table: 'removedDevices'; readonly remove: number }
  | { readonly table: 'cuts'; readonly put: CutRow }
  | { readonly table: 'cuts'; readonly remove: number }
  | { readonly table: 'starts'; readonly put: StartRow }
  | { readonly table: 'starts'; readonly remove: number }
  | { readonly table: 'events'; readonly put: EventRow }
  | { readonly table: 'events'; readonly remove: number };

export interface Place {
  readonly space: SpaceId;
  readonly address: number;
}

export interface SlabPlace {
  readonly device: number;
  readonly slab: number;
}

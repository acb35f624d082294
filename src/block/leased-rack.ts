/** The rack, for the holder of a device's lease: `DeviceRack` over the client's connections. */

import { isNoAnswer, Status } from '../base/status.js';
import type { Connections } from '../client/connections.js';
import type { Control } from '../client/control.js';
import type { BackgroundWindow } from '../fabric/background-window.js';
import type { Link } from '../fabric/link.js';
import type { Copy, TornRange } from '../replication/copy.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import type { SlabCopy } from '../wire/device-messages.js';
import { LEASE_NODES_MAX, REGION_BYTES } from '../wire/limits.js';
import { MessageType, type Request } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import type { Memories } from './memories.js';
import type {
  CopyPlace,
  DeviceRack,
  DonorWish,
  SetAnswer,
  SetRow,
  SlabNode,
  UseTold,
} from './ports.js';
import { isBackup } from './ports.js';
import { type CopyOpener, type OpenCopy, RemoteCopy } from './remote-copy.js';

/** The lease, as it is held. */
export interface DeviceLease {
  readonly number: number;
  readonly epoch: number;
  /** Ids of the nodes that it is over. */
  readonly nodes: ReadonlySet<string>;
  /** Of one of these: the memory; undefined: it is none of these. */
  memoryAt(node: string): number | undefined;
  /** One more node under the same epoch. */
  extend(node: string): Promise<Status>;
  /** One less; not where a row of a set names it. */
  shrink(node: string): Promise<Status>;
  /** A node has said, after this was asked, that it is held. */
  confirm(): Promise<boolean>;
  /** It is not ours any more, or not good any more. */
  lose(why: string): void;
}

export interface LeasedRackParts {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly connections: Connections;
  readonly memories: Memories;
  readonly lease: DeviceLease;
  readonly device: number;
  /** Of memory, for a copy. */
  readonly slabBytes: number;
  /** Of a node, for what is moved in the background. */
  windowTo(node: string): BackgroundWindow;
}

const CALL_MS = 1_500;
const OPEN_MS = 1_000;
/** Regions of a node that are tried for one copy. */
const REGIONS_TRIED_MAX = 4;
const GIVE_AGAIN_MS_MIN = 200;
const GIVE_AGAIN_MS_MAX = 30_000;

export class LeasedRack implements DeviceRack, CopyOpener {
  readonly timers;
  readonly clock;
  readonly #parts: LeasedRackParts;
  #isOver = false;
  #isLeaving = false;
  /** Nodes of which the controller may not know that the lease is over them. */
  readonly #doubted = new Set<string>();
  readonly #extending = new Map<string, Promise<Status>>();
  /** Copies whose nodes know that they counted. */
  readonly #marked = new Set<number>();

  constructor(parts: LeasedRackParts) {
    this.#parts = parts;
    this.timers = parts.runtime.timers;
    this.clock = parts.runtime.clock;
  }

  windowTo(node: string): BackgroundWindow {
    return this.#parts.windowTo(node);
  }

  get lease(): DeviceLease {
    return this.#parts.lease;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Nothing is given back any more: the next holder does what is left. */
  stop(): void {
    this.#isOver = true;
  }

  /** A lease is over so many nodes at most: then no copy goes to any other one. */
  async nodes(): Promise<readonly SlabNode[] | undefined> {
    const { lease, memories } = this.#parts;
    const nodes = await memories.list();
    if (lease.nodes.size < LEASE_NODES_MAX) return nodes;
    return nodes?.map((node) => (lease.nodes.has(node.id) ? node : { ...node, isServing: false }));
  }

  confirm(): Promise<boolean> {
    return this.#parts.lease.confirm();
  }

  lose(why: string): void {
    this.#parts.lease.lose(why);
  }

  copyAt(place: CopyPlace): Copy {
    return new RemoteCopy(place, this);
  }

  // ------------------------------------------------------------------------------- memory nodes

  async open(place: CopyPlace): Promise<OpenCopy | Status> {
    const link = await this.#linkTo(place.node, place.memoryId);
    if (link === undefined) return Status.Unavailable;
    const covered = await this.#cover(place.node, place.memoryId);
    if (covered !== Status.Ok) return covered;
    const opening = link.call(MessageType.OpenSlab, this.#request(place), OPEN_MS);
    const torn = await this.#tellTorn(link, place, []);
    const reply = await opening;
    if (reply.status === Status.Ok) {
      if (typeof torn === 'number') return torn;
      const mended = async (range: TornRange): Promise<Status> => {
        const left = await this.#tellTorn(link, place, [range]);
        return typeof left === 'number' ? left : Status.Ok;
      };
      const window = { space: place.space, id: reply.window, epoch: reply.epoch };
      const trim = async (from: number, bytes: number, timeoutMs: number): Promise<Status> => {
        const request = { ...this.#request(place), from, bytes };
        return (await link.call(MessageType.TrimSlab, request, timeoutMs)).status;
      };
      return { link, window, trim, torn, mended };
    }
    if (reply.status === Status.Stale) this.lose(`${place.node} says that it is another's`);
    return isNoAnswer(reply.status) ? Status.Unavailable : reply.status;
  }

  /** What of the copy is torn, but for what is mended. */
  async #tellTorn(
    link: Link,
    place: CopyPlace,
    mended: readonly TornRange[],
  ): Promise<readonly TornRange[] | Status> {
    const request = { ...this.#request(place), mended };
    const reply = await link.call(MessageType.TornPages, request, OPEN_MS);
    if (reply.status === Status.Ok) return reply.pages;
    // An older node does not know it, and has told of nothing that could be mended.
    if (reply.status === Status.Unsupported && mended.length === 0) return [];
    return isNoAnswer(reply.status) ? Status.Unavailable : reply.status;
  }

  /** Has the lease over this memory: a node that is back with other memory has not heard of it. */
  async #cover(node: string, memoryId: number): Promise<Status> {
    const { lease } = this.#parts;
    if (lease.memoryAt(node) === memoryId) return Status.Ok;
    const status = await this.#extend(node);
    // It may have other memory by now.
    const isOther = status === Status.Ok && lease.memoryAt(node) !== memoryId;
    return isOther ? Status.Unavailable : status;
  }

  /** One question for all that wait for it. */
  #extend(node: string): Promise<Status> {
    const asked = this.#extending.get(node) ?? this.#extendNow(node);
    this.#extending.set(node, asked);
    return asked;
  }

  async #extendNow(node: string): Promise<Status> {
    const status = await this.#parts.lease.extend(node);
    this.#extending.delete(node);
    // Only a new epoch helps.
    if (status === Status.Stale) this.lose(`${node} cannot be taken into the lease`);
    if (status === Status.Ok) this.#doubted.delete(node);
    return status;
  }

  #request({ space, address, copy }: CopyPlace): Request<typeof MessageType.OpenSlab> {
    const { number, epoch } = this.#parts.lease;
    return { space, address, copy, lease: number, leaseEpoch: epoch };
  }

  async #linkTo(node: string, memoryId: number) {
    const { memories, connections } = this.#parts;
    const connected = connections.known(node);
    if (connected?.memoryId === memoryId) return connected.link;
    const known = memories.find(node) ?? (await memories.list())?.find(({ id }) => id === node);
    if (known?.memoryId !== memoryId) return undefined;
    return connections.to(node, known.address, memoryId).link;
  }

  async take(node: string, slab: number, copy: number): Promise<CopyPlace | Status> {
    let status: Status = Status.NoSpace;
    for (let after = 0, tried = 0; tried < REGIONS_TRIED_MAX; tried++) {
      const granted = await this.#grant(node, after);
      if (granted.status !== Status.Ok) return granted.status;
      const { memoryId, space, region } = granted;
      if (this.#doubted.has(node)) await this.#extend(node);
      // Of the memory that it has now: what was heard of the node before may be of another one.
      const covered = await this.#cover(node, memoryId);
      if (covered !== Status.Ok) return covered;
      const taken = await this.#takeIn(region, { copy, node, memoryId, space, address: 0 }, slab);
      if (typeof taken !== 'number') return taken;
      status = taken;
      if (status !== Status.NoSpace) break;
      after = region;
    }
    return status;
  }

  /** A controller of a version before gives any region that is not quite full. */
  async #grant(node: string, after: number) {
    const bytes = this.#parts.slabBytes;
    const granted = await this.#call(MessageType.GrantSlabRoom, { node, after, bytes });
    if (granted.status !== Status.Unsupported) return granted;
    return this.#call(MessageType.GrantSlabRegion, { node, after });
  }

  /** Given back where nobody tells whether it was taken. */
  async #takeIn(region: number, place: CopyPlace, slab: number): Promise<CopyPlace | Status> {
    const { device, slabBytes, lease } = this.#parts;
    const link = await this.#linkTo(place.node, place.memoryId);
    if (link === undefined) return Status.Unavailable;
    const { space, copy } = place;
    const holder = { lease: lease.number, leaseEpoch: lease.epoch };
    const request = { space, region, bytes: slabBytes, device, slab, copy, ...holder };
    const reply = await link.call(MessageType.TakeSlab, request, CALL_MS);
    if (reply.status === Status.Ok) return { ...place, address: reply.address };
    const { status } = reply;
    if (status === Status.Stale) this.lose(`${place.node} says that it is another's`);
    if (!isNoAnswer(status)) return status;
    this.give({ ...place, address: region * REGION_BYTES });
    return status;
  }

  async tellUse(node: string, memoryId: number, told: UseTold): Promise<DonorWish | undefined> {
    const { number: lease, epoch: leaseEpoch } = this.#parts.lease;
    const slabs = told.slabs.map((use) => ({ ...use, isGoing: use.isGoing ? 1 : 0 }));
    const request = { round: told.round, lease, leaseEpoch, slabs };
    const link = await this.#linkTo(node, memoryId);
    const reply = await link?.call(MessageType.SlabActivity, request, CALL_MS);
    // Whoever is not the holder any more learns it from what matters.
    if (reply?.status !== Status.Ok) return undefined;
    const { round, isShort } = reply;
    const asked = reply.asked.map(({ copy }) => copy);
    const going = reply.going.map(({ copy }) => copy);
    return { round, isShort: isShort === 1, asked, going };
  }

  give(place: CopyPlace): void {
    void this.#give(place);
  }

  async #give(place: CopyPlace): Promise<void> {
    const { runtime, memories } = this.#parts;
    for (let pauseMs = GIVE_AGAIN_MS_MIN; !this.#isOver; ) {
      let isBusy = false;
      const link = await this.#linkTo(place.node, place.memoryId);
      if (link !== undefined) {
        const request = this.#request(place);
        const { status } = await link.call(MessageType.GiveSlab, request, CALL_MS);
        // Stale: whoever comes next sees to it.
        isBusy = status === Status.Busy;
        if (!isNoAnswer(status) && !isBusy) return;
      } else if (isGone(place, await memories.list())) return;
      await sleep(runtime.timers, isBusy ? GIVE_AGAIN_MS_MIN : pauseMs);
      // The memory that is wanted back may be that of a full node: it does not wait for long.
      if (!isBusy) pauseMs = Math.min(2 * pauseMs, GIVE_AGAIN_MS_MAX);
    }
  }

  leaveUnused(used: ReadonlySet<string>): void {
    if (!this.#isLeaving) void this.#leaveUnused(used);
  }

  /** A take-over has to reach all nodes of the lease. */
  async #leaveUnused(used: ReadonlySet<string>): Promise<void> {
    const { memories, lease } = this.#parts;
    const nodes = await memories.list();
    if (nodes === undefined || this.#isOver) return;
    const isThere = (id: string): boolean => {
      return nodes.some((node) => node.id === id && (node.isServing || node.isLeaving));
    };
    const all = [...lease.nodes];
    // Where none is there it is the controller that does not see them.
    if (!all.some(isThere)) return;
    this.#isLeaving = true;
    for (const id of all) {
      if (!used.has(id) && !isThere(id) && !this.#isOver) await lease.shrink(id);
    }
    this.#isLeaving = false;
  }

  // --------------------------------------------------------------------------------- controller

  async putSet(row: SetRow): Promise<SetAnswer> {
    const { device, lease } = this.#parts;
    const { slab, generation } = row;
    const copies = row.copies.map((copy) => ({ ...copy }));
    const request = { device, epoch: lease.epoch, slab, generation, copies };
    const reply = await this.#call(MessageType.PutSet, request);
    // A shrink of before that came late, or a database of before: extended again it is right.
    if (reply.status === Status.Invalid) for (const { node } of copies) this.#doubted.add(node);
    if (reply.status !== Status.Ok) return { status: reply.status };
    const now = rowOf(slab, reply);
    if (reply.isTaken === 0) return { status: Status.Conflict, row: now };
    const atNodes = row.copies.filter((place) => !isBackup(place));
    const marked = atNodes.map((place) => this.#mark(place, generation));
    // A copy that has a mark of before may be the one that is leaving: it may not answer.
    await Promise.all(marked.filter((_, i) => !this.#marked.has(atNodes[i]?.copy ?? 0)));
    return { status: Status.Ok };
  }

  /** The node knows from then on that the copy counted: an older database does not forget it. */
  async #mark(place: CopyPlace, generation: number): Promise<void> {
    const link = await this.#linkTo(place.node, place.memoryId);
    const request = { ...this.#request(place), generation };
    const reply = await link?.call(MessageType.MarkSlab, request, CALL_MS);
    if (reply?.status === Status.Ok) this.#marked.add(place.copy);
  }

  #call<T extends CallToController>(type: T, request: Request<T>) {
    const { control, runtime } = this.#parts;
    return control.call(type, request, runtime.clock.now() + CALL_MS);
  }
}

type CallToController =
  | typeof MessageType.PutSet
  | typeof MessageType.GrantSlabRoom
  | typeof MessageType.GrantSlabRegion;

export function rowOf(
  slab: number,
  row: { readonly generation: number; readonly copies: readonly Fields<typeof SlabCopy>[] },
): SetRow {
  const copies = row.copies.map(({ copy, node, memoryId, space, address }) => {
    return { copy, node, memoryId, space, address };
  });
  return { slab, generation: row.generation, copies };
}

/** By the word of the controller. */
function isGone({ node, memoryId }: CopyPlace, nodes: readonly SlabNode[] | undefined): boolean {
  if (nodes === undefined) return false;
  return !nodes.some((one) => one.id === node && one.memoryId === memoryId);
}

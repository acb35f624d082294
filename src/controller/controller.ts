/**
 * The controller: its parts put together, and the rules that need more than one of them.
 *
 * It is never on the data path. All its state is metadata that is durable before it is told, and
 * what the members say about themselves every two seconds.
 */
import type { SpaceId } from '../base/brands.js';
import { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import type { PlacementPolicy } from '../policies/placement/candidate.js';
import type { RebalancingPolicy } from '../policies/rebalancing/rebalancing.js';
import type { Clock, Timers } from '../runtime/clock.js';
import type { Entropy } from '../runtime/runtime.js';
import { Devices } from './devices.js';
import { Drains } from './drains.js';
import { Files } from './files.js';
import { Garbage } from './garbage.js';
import { GiveBack } from './give-back.js';
import { Hosts } from './hosts.js';
import type { LeaseCalls } from './lease-calls.js';
import { Leases } from './leases.js';
import { AWAY_MS_DEFAULT, CHANGES_WAITING_MAX } from './limits.js';
import { ownMark } from './mark.js';
import type { Member } from './member.js';
import { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { DrainState } from './metadata/schema.js';
import { MoveTargets } from './move-targets.js';
import { type MoveEnd, type MoveWish, RegionMoves } from './moves.js';
import { SLAB_BYTES_MIN } from '../wire/limits.js';
import type { NodeCalls } from './node-calls.js';
import { Rebalancer } from './rebalancer.js';
import { type Refusal, refuse } from './refusal.js';
import { Regions } from './regions.js';
import { Restoration } from './restoration.js';
import { SlabSpace } from './slab-space.js';
import { Spaces } from './spaces.js';
import { Watch } from './watch.js';
import { Orphans } from './orphans.js';

export interface ControllerOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly metadata: Metadata;
  readonly calls: NodeCalls;
  readonly leaseCalls: LeaseCalls;
  readonly policy: PlacementPolicy;
  /** Undefined: regions stay where they are. */
  readonly rebalancing?: RebalancingPolicy | undefined;
  readonly awayMs?: number;
  /** The least memory of a slab. */
  readonly slabBytesMin?: number;
  /** The database turned out to be an older copy, or all nodes have told what it missed. */
  readonly restorationNoted?: (what: 'begun' | 'ended') => void;
  /** A memory node is to be emptied, has been, or is used again. */
  readonly drainNoted?: (node: string, what: DrainState | 'cancelled') => void;
}

export class Controller {
  readonly metadata: Metadata;
  readonly changes: Serial;
  readonly membership: Membership;
  readonly regions: Regions;
  readonly moves: RegionMoves;
  readonly moveTargets: MoveTargets;
  readonly drains: Drains;
  readonly #rebalancer: Rebalancer | undefined;
  readonly spaces: Spaces;
  readonly giveBack: GiveBack;
  readonly orphans: Orphans;
  readonly files: Files;
  readonly garbage: Garbage;
  readonly hosts: Hosts;
  readonly leases: Leases;
  readonly devices: Devices;
  readonly slabSpace: SlabSpace;
  readonly restoration: Restoration;
  readonly watch: Watch;
  readonly startedMs: number;

  constructor(options: ControllerOptions) {
    const { clock, metadata, calls, policy, entropy, timers } = options;
    const changes = new Serial(CHANGES_WAITING_MAX);
    const awayMs = options.awayMs ?? AWAY_MS_DEFAULT;
    const arrived = (member: Member): void => void this.#settle(member);
    const returned = (member: Member): void => {
      arrived(member);
      this.giveBack.told(member);
      this.orphans.told(member);
    };
    const shared = { metadata, changes, calls };
    this.metadata = metadata;
    this.changes = changes;
    this.startedMs = clock.now();
    this.restoration = new Restoration({
      ...shared,
      clock,
      awayMs,
      entropy,
      members: () => this.membership.members,
      forgetIfNothingIsLeft: (node) => this.membership.forgetIfNothingIsLeft(node),
      noted: options.restorationNoted ?? (() => undefined),
    });
    const { restoration } = this;
    this.membership = new Membership({
      ...shared,
      clock,
      awayMs,
      returned,
      judge: (mark, held) => restoration.judge(mark, held),
      tellMark: () => this.#tellMark(calls),
      isLaterThanUs: (mark) => restoration.isLaterThanUs(mark),
    });
    const withMembers = { ...shared, membership: this.membership };
    const mayLack = (): boolean => restoration.mayLack;
    const refusal = (): Refusal | undefined => restoration.refusal();
    this.regions = new Regions({ ...withMembers, policy, entropy, timers, mayLack });
    this.spaces = new Spaces({ ...withMembers, witness: (space) => this.#witness(space, calls) });
    this.moves = new RegionMoves({ ...withMembers, clock, timers, arrived, refusal });
    const move = (wish: MoveWish): Promise<MoveEnd> => this.moves.move(wish);
    this.moveTargets = new MoveTargets({ ...withMembers, policy, chance: entropy, move });
    const { rebalancing, drainNoted: noted = () => undefined } = options;
    const driver = { ...withMembers, clock, timers, refusal };
    this.#rebalancer = rebalancing && new Rebalancer({ ...driver, policy: rebalancing, move });
    this.drains = new Drains({ ...driver, targets: this.moveTargets, noted });
    this.giveBack = new GiveBack({ ...driver, targets: this.moveTargets });
    this.orphans = new Orphans(driver);
    this.files = new Files(metadata, changes, clock);
    this.garbage = new Garbage(metadata, changes);
    this.hosts = new Hosts(clock, awayMs);
    this.watch = new Watch({ ...withMembers, timers });
    const { regions, spaces } = this;
    const { slabBytesMin = SLAB_BYTES_MIN } = options;
    this.slabSpace = new SlabSpace({ ...withMembers, timers, regions, spaces, slabBytesMin });
    this.devices = new Devices({ ...withMembers, clock, slabBytesMin, orphans: this.orphans });
    this.leases = new Leases({
      ...withMembers,
      clock,
      calls: options.leaseCalls,
      copiesOf: (lease) => this.devices.nodesOfLease(lease),
    });
  }

  /** Goes on with what an earlier life had begun. To be called once, before anything is served. */
  async resume(): Promise<void> {
    await this.nodeRemoved();
    this.devices.resume();
    this.moves.resume();
    this.drains.resume();
    this.#rebalancer?.start();
    this.watch.start();
    this.slabSpace.start();
  }

  /** It is waited for no longer: by a restoration, and by removals of spaces. */
  async nodeRemoved(): Promise<void> {
    await this.changes.run(() => this.restoration.finishIfAll());
    await this.spaces.resume();
  }

  /** Of a space whose regions nodes may hold nevertheless it is not said that there is none. */
  refuseUnknownSpace(space: SpaceId): Refusal {
    const { restoration } = this;
    const unsure = restoration.refusal();
    if (unsure !== undefined) return unsure;
    const isHeld = this.membership.unknownSpaces().has(space);
    if (!isHeld && restoration.mayLack) {
      const nodes = restoration.awaited().slice(0, 8).join(', ');
      const message = `space ${space} is not known, and ${nodes} may hold it: start them again`;
      return refuse(Status.Unavailable, message);
    }
    if (!isHeld) return refuse(Status.NotFound, `there is no space ${space}`);
    const remedy = `memrack space adopt ${space} NAME`;
    const message = `space ${space} is not known to the metadata, nodes hold it: ${remedy}`;
    return refuse(Status.Unavailable, message);
  }

  /** Waits for changes under way, then closes the metadata. */
  async close(): Promise<void> {
    this.#rebalancer?.stop();
    this.drains.stop();
    this.giveBack.stop();
    this.orphans.stop();
    this.moves.stop();
    this.watch.stop();
    this.slabSpace.stop();
    await this.changes.run(() => this.metadata.close());
  }

  /**
   * Whether a node remembers that the number of this space was given out: all that serve are told
   * if none does. Where there are no nodes nobody can, and none may have a region of it.
   */
  async #witness(space: SpaceId, calls: NodeCalls): Promise<boolean> {
    const isKnown = (): boolean => {
      const nodes = this.membership.lasting();
      return nodes.length === 0 || nodes.some(({ knowsSpaces }) => knowsSpaces > space);
    };
    if (!isKnown()) await this.#tellMark(calls);
    return isKnown();
  }

  /** Ends when all that serve have heard, or could not be reached. */
  async #tellMark(calls: NodeCalls): Promise<void> {
    const mark = ownMark(this.metadata);
    const tell = async (member: Member): Promise<void> => {
      const status = await calls.noteMark(member.row, mark);
      if (status === Status.Ok) member.knowsSpaces = Math.max(member.knowsSpaces, mark.nextSpace);
    };
    await Promise.all(this.membership.serving().map(tell));
  }

  /** They were not told what they are owed while one was waited for. */
  #settleOthers(last: Member): void {
    for (const member of this.membership.members.values()) {
      if (member !== last && member.isJoined) void this.#settle(member);
    }
  }

  /** Tells a node what it owes to know; one conversation at a time. */
  async #settle(member: Member): Promise<void> {
    if (member.isSettling) return;
    member.isSettling = true;
    try {
      const isWaiting = this.restoration.phase !== 'over';
      await this.restoration.ask(member);
      if (this.restoration.phase === 'restoring') {
        await this.changes.run(() => this.restoration.finishIfAll());
      }
      await this.spaces.settle(member);
      // What it was to be told may have been decided otherwise since.
      if (this.restoration.phase === 'over') {
        if (isWaiting) this.#settleOthers(member);
        await this.regions.settle(member);
      }
      await this.regions.recheckUnknown(member);
    } finally {
      member.isSettling = false;
    }
  }
}

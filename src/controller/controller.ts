/**
 * The controller: its parts put together, and the rules that need more than one of them.
 *
 * It is never on the data path. All its state is metadata that is durable before it is told, and
 * what the members say about themselves every two seconds.
 */
import type { PlacementPolicy } from '../policies/placement/candidate.js';
import type { Clock, Timers } from '../runtime/clock.js';
import type { Entropy } from '../runtime/runtime.js';
import { Files } from './files.js';
import { Garbage } from './garbage.js';
import { Hosts } from './hosts.js';
import type { LeaseCalls } from './lease-calls.js';
import { Leases } from './leases.js';
import { AWAY_MS_DEFAULT, CHANGES_WAITING_MAX } from './limits.js';
import type { Member } from './member.js';
import { Membership } from './membership.js';
import type { Metadata } from './metadata/metadata.js';
import type { NodeCalls } from './node-calls.js';
import { Regions } from './regions.js';
import { Serial } from './serial.js';
import { Spaces } from './spaces.js';

export interface ControllerOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly metadata: Metadata;
  readonly calls: NodeCalls;
  readonly leaseCalls: LeaseCalls;
  readonly policy: PlacementPolicy;
  readonly awayMs?: number;
}

export class Controller {
  readonly metadata: Metadata;
  readonly changes: Serial;
  readonly membership: Membership;
  readonly regions: Regions;
  readonly spaces: Spaces;
  readonly files: Files;
  readonly garbage: Garbage;
  readonly hosts: Hosts;
  readonly leases: Leases;
  readonly startedMs: number;

  constructor(options: ControllerOptions) {
    const { clock, metadata, calls, policy, entropy, timers } = options;
    const changes = new Serial(CHANGES_WAITING_MAX);
    const awayMs = options.awayMs ?? AWAY_MS_DEFAULT;
    const returned = (member: Member): void => void this.#settle(member);
    const shared = { metadata, changes, calls };
    this.metadata = metadata;
    this.changes = changes;
    this.startedMs = clock.now();
    this.membership = new Membership({ ...shared, clock, awayMs, returned });
    const withMembers = { ...shared, membership: this.membership };
    this.regions = new Regions({ ...withMembers, policy, entropy, timers });
    this.spaces = new Spaces(withMembers);
    this.files = new Files(metadata, changes, clock);
    this.garbage = new Garbage(metadata, changes);
    this.hosts = new Hosts(clock, awayMs);
    const { membership } = this;
    this.leases = new Leases({ metadata, changes, membership, clock, calls: options.leaseCalls });
  }

  /** Goes on with what an earlier life had begun. To be called once, before anything is served. */
  resume(): Promise<void> {
    return this.spaces.resume();
  }

  /** Waits for changes under way, then closes the metadata. */
  async close(): Promise<void> {
    await this.changes.run(() => this.metadata.close());
  }

  /** Tells a node what it owes to know; one conversation at a time. */
  async #settle(member: Member): Promise<void> {
    if (member.isSettling) return;
    member.isSettling = true;
    try {
      await this.spaces.settle(member);
      await this.regions.settle(member);
      await this.regions.recheckUnknown(member);
    } finally {
      member.isSettling = false;
    }
  }
}

/**
 * Sees what no message says: that a node has fallen silent or is heard of again, and that its
 * machine is short of memory or has enough again. It looks once a second and tells the history.
 */

import type { Serial } from '../base/serial.js';
import type { Timer, Timers } from '../runtime/clock.js';
import { WATCH_MS } from './limits.js';
import type { Member, NodeState } from './member.js';
import type { Membership } from './membership.js';
import { eventOf, type Happening } from './metadata/history.js';
import type { Metadata } from './metadata/metadata.js';

export interface WatchOptions {
  readonly metadata: Metadata;
  readonly membership: Membership;
  readonly changes: Serial;
  readonly timers: Timers;
}

/** As it was at the last look. */
interface Seen {
  readonly memoryId: number;
  readonly incarnation: number;
  readonly isJoined: boolean;
  readonly state: NodeState;
  readonly isShort: boolean;
}

export class Watch {
  readonly #options: WatchOptions;
  #seen = new Map<string, Seen>();
  #timer: Timer | undefined;
  #isWriting = false;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.timers.after(WATCH_MS, () => {
      this.look();
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** What has changed since the last look is told. */
  look(): void {
    const { metadata, membership } = this.#options;
    const before = this.#seen;
    this.#seen = new Map();
    for (const [id, member] of membership.members) {
      const now = seenOf(member, membership.state(member));
      metadata.history.note(changed(member, before.get(id), now));
      this.#seen.set(id, now);
    }
    if (metadata.history.waiting > 0) void this.#write();
  }

  /** For what no change takes along. One at a time: where the disk is slow they are gathered. */
  async #write(): Promise<void> {
    const { metadata, changes } = this.#options;
    if (this.#isWriting || changes.isFull) return;
    this.#isWriting = true;
    await changes.run(() => metadata.commitEvents());
    this.#isWriting = false;
  }
}

function seenOf(member: Member, state: NodeState): Seen {
  const { row, bytesLent, bytesToGive, isJoined } = member;
  const { memoryId, incarnation } = row;
  const isShort = state === 'serving' && (bytesToGive > 0 || bytesLent < row.bytesLent);
  return { memoryId, incarnation, isJoined, state, isShort };
}

/** Nothing of one that has joined since: who let it in tells. */
function changed(member: Member, before: Seen | undefined, now: Seen): Happening[] {
  if (before === undefined || before.memoryId !== now.memoryId) return [];
  const node = member.row.id;
  const events: Happening[] = [];
  if (before.state === 'serving' && now.state === 'away') {
    events.push(eventOf('node-away', { node }));
  }
  const isSame = before.isJoined && before.incarnation === now.incarnation;
  if (before.state === 'away' && now.state === 'serving' && isSame) {
    events.push(eventOf('node-back', { node }, { memory: 'kept' }));
  }
  if (now.state !== 'serving') return events;
  const { bytesLent, bytesToGive } = member;
  if (!before.isShort && now.isShort) {
    events.push(eventOf('node-short', { node }, { bytesLent, bytesToGive }));
  }
  if (before.isShort && !now.isShort) events.push(eventOf('node-well', { node }, { bytesLent }));
  return events;
}

/**
 * Which memory nodes belong to the rack, and which of them are there now.
 *
 *                 join                      silence > awayMs
 *   (unknown) ------------> serving  <--------------------------> away
 *                              |            heartbeat               |
 *                              +-- ended (proved, or said) ---------+--> its regions are lost
 *
 * A node is its memory: one that comes back with the same memory id is the same node, with a higher
 * incarnation. Other memory takes an id only after somebody who knows has said (`ended`) that the
 * memory before is gone: silence may be a partition or a pause, and loss is for good. After a
 * restart of the controller every node is away until it has joined again, so that what it holds is
 * compared with the database before anything new is given to it.
 */
import type { SpaceId } from '../base/brands.js';
import type { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import type { ControllerMark } from '../disk/table-file.js';
import type { Clock } from '../runtime/clock.js';
import { NODES_MAX } from '../wire/limits.js';
import { DonorFlag } from '../wire/messages.js';
import { type NodeJoin, refuseJoin } from './join-rules.js';
import { diskChanges, keptChanges } from './kept.js';
import { REFUSAL_SHOWN_MS, REFUSALS_SHOWN_MAX } from './limits.js';
import { Member, type NodeState } from './member.js';
import { eventOf, type Happening } from './metadata/history.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { NodeRow } from './metadata/schema.js';
import { NAME_CHARACTERS_MAX, quote } from './names.js';
import type { NodeCalls } from './node-calls.js';
import { controllerFaults } from './planted.js';
import { type HeldRegion, type Reconciliation, reconcile } from './reconcile.js';
import { isRefusal, ok, type Refusal, type Result, refuse } from './refusal.js';

export interface NodeHeartbeat {
  readonly id: string;
  readonly memoryId: number;
  readonly incarnation: number;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  readonly bytesToGive?: number;
  readonly donor?: number;
}

export interface MembershipOptions {
  readonly clock: Clock;
  readonly metadata: Metadata;
  readonly changes: Serial;
  readonly calls: NodeCalls;
  readonly awayMs: number;
  /** Within a change: what a joining node remembers may show that the database is old. */
  readonly judge: (mark: ControllerMark, held: readonly HeldRegion[]) => Promise<void>;
  /** Whether memory of this mark heard of us after the database was copied. */
  readonly isLaterThanUs: (mark: ControllerMark) => boolean;
  /** Ends when all that serve have heard how far the database has come, or could not be told. */
  readonly tellMark: () => Promise<void>;
  /** The node has joined or given a sign of life: it can be told what it has to know. */
  readonly returned: (member: Member) => void;
}

export interface ShownRefusal {
  readonly id: string;
  readonly memoryId: number;
  readonly message: string;
  readonly atMs: number;
}

export class Membership {
  readonly #options: MembershipOptions;
  readonly #members = new Map<string, Member>();
  #refusals: ShownRefusal[] = [];

  constructor(options: MembershipOptions) {
    this.#options = options;
    for (const row of options.metadata.nodes.values()) this.#members.set(row.id, new Member(row));
  }

  get members(): ReadonlyMap<string, Member> {
    return this.#members;
  }

  state(member: Member): NodeState {
    return member.state(this.#options.clock.now(), this.#options.awayMs);
  }

  serving(): Member[] {
    return [...this.#members.values()].filter((member) => this.state(member) === 'serving');
  }

  /** Those whose memory is not known to be gone. */
  lasting(): Member[] {
    return [...this.#members.values()].filter(({ row }) => row.state === 'member');
  }

  /** Spaces that the metadata does not know, and the nodes that hold regions of them. */
  unknownSpaces(): Map<SpaceId, Member[]> {
    const { metadata } = this.#options;
    const found = new Map<SpaceId, Member[]>();
    for (const member of this.#members.values()) {
      const spaces = new Set(member.unknown.map(({ space }) => space));
      for (const space of spaces) {
        if (metadata.spaces.has(space)) continue;
        found.set(space, [...(found.get(space) ?? []), member]);
      }
    }
    return found;
  }

  /** Joins that were refused a short while ago, for status. */
  recentRefusals(): readonly ShownRefusal[] {
    const since = this.#options.clock.now() - REFUSAL_SHOWN_MS;
    this.#refusals = this.#refusals.filter((refusal) => refusal.atMs >= since);
    return this.#refusals;
  }

  /** Idempotent. After `Ok` the node is serving. */
  async join(request: NodeJoin): Promise<Result<object>> {
    const result = await this.#join(request);
    if (isRefusal(result)) this.#remember(request, result);
    else this.#refusals = this.#refusals.filter(({ memoryId }) => memoryId !== request.memoryId);
    return result;
  }

  async #join(request: NodeJoin): Promise<Result<object>> {
    const wrong = refuseJoin(request);
    if (wrong !== undefined) return wrong;
    const { changes, tellMark } = this.#options;
    const result = await changes.run(() => this.#admit(request, false));
    if (isRefusal(result) || this.#members.get(request.id)?.isNew !== true) return result;
    // Nobody would wait for it, after an older copy of the database, or know of what it is given.
    await tellMark();
    return changes.run(() => this.#admit(request, true));
  }

  /** False: this controller does not know the node as it is now, and it has to join. */
  heartbeat(beat: NodeHeartbeat): boolean {
    const member = this.#members.get(beat.id);
    if (member === undefined || !member.isJoined || !isSame(member.row, beat)) return false;
    if (member.row.state === 'ended') return false;
    member.seenMs = this.#options.clock.now();
    member.isSuspect = false;
    member.bytesPromised = 0;
    member.bytesLent = beat.bytesLent;
    member.bytesUsed = beat.bytesUsed;
    member.hasToldUse = true;
    member.bytesCommitted = beat.bytesCommitted;
    member.bytesToGive = beat.bytesToGive ?? 0;
    member.isUnmeasured = ((beat.donor ?? 0) & DonorFlag.UNMEASURED) !== 0;
    this.#options.returned(member);
    return true;
  }

  /** Somebody who knows (its supervisor's parent) says that this memory is gone. Idempotent. */
  ended(id: string, memoryId: number): Promise<void> {
    return this.#options.changes.run(async () => {
      const member = this.#members.get(id);
      if (member === undefined || member.row.memoryId !== memoryId) return;
      if (member.row.state === 'ended') return;
      const row: NodeRow = { ...member.row, state: 'ended' };
      await this.#options.metadata.commit([
        { table: 'nodes', put: row },
        ...this.#lose(id, memoryId),
      ]);
      this.#options.calls.forget(member.row);
      member.row = row;
      member.isJoined = false;
      member.confirmed.clear();
      await this.forgetIfNothingIsLeft(id);
    });
  }

  /**
   * An operator lets a node go: one that holds nothing, or one whose memory is gone by his word.
   * While it serves nobody's word counts.
   */
  async remove(id: string, isLost: boolean): Promise<Result<object>> {
    const { metadata, changes } = this.#options;
    const member = this.#members.get(id);
    if (member === undefined) {
      // A drained node that ended in order is gone already, and what an operator said of it is not.
      if (metadata.drains.has(id)) return changes.run(() => this.#forgetDrain(id));
      return refuse(Status.NotFound, `there is no memory node ${quote(id)}`);
    }
    const { memoryId, address, machine } = member.row;
    if (this.state(member) === 'serving') {
      const message = `memory node ${quote(id)} serves at ${address} on ${machine}: end it first`;
      return refuse(Status.Conflict, message);
    }
    if (isLost) {
      await this.ended(id, memoryId);
      return changes.run(() => this.#forgetDrain(id));
    }
    return changes.run(() => this.#letGo(id));
  }

  async #forgetDrain(id: string): Promise<Result<object>> {
    await this.#options.metadata.commit(drainEnd(this.#options.metadata, id));
    return ok({});
  }

  async #letGo(id: string): Promise<Result<object>> {
    const { metadata, calls } = this.#options;
    const member = this.#members.get(id);
    if (member === undefined) return ok({});
    const held = metadata.regionsOfNode(id).size;
    if (held > 0 || this.state(member) === 'serving') {
      return refuse(
        Status.Conflict,
        `memory node ${quote(id)} has ${held} regions, which may come back with it: start it ` +
          'again; if its memory is gone for certain say so with --lost, and they are lost',
      );
    }
    await metadata.commit([{ table: 'nodes', remove: id }, ...drainEnd(metadata, id)]);
    calls.forget(member.row);
    this.#members.delete(id);
    return ok({});
  }

  /** Within a change. An ended node stays listed as long as something that it held is lost. */
  async forgetIfNothingIsLeft(id: string): Promise<void> {
    const { metadata } = this.#options;
    if (this.#members.get(id)?.row.state !== 'ended') return;
    if (metadata.regionsOfNode(id).size > 0) return;
    const disk = metadata.disks.has(id) ? [{ table: 'disks', remove: id } as const] : [];
    await metadata.commit([{ table: 'nodes', remove: id }, ...disk]);
    this.#members.delete(id);
  }

  #refuseOther(member: Member): Refusal {
    const { id, address, machine } = member.row;
    if (this.state(member) === 'serving') {
      return refuse(
        Status.Exists,
        `a memory node ${quote(id)} with other memory serves at ${address} on ${machine}: give ` +
          'this one another id, or end that one first',
      );
    }
    return refuse(
      Status.Exists,
      `${quote(id)} stands for other memory, last served at ${address} on ${machine}, which may ` +
        'come back with its contents: start that one again, or give this one another id; if that ' +
        'memory is gone for certain, start this one with --replace: its contents are lost then',
    );
  }

  /** One that is new serves when others have heard that there is something new. */
  async #admit(request: NodeJoin, isHeard: boolean): Promise<Result<object>> {
    const { metadata, calls, judge, isLaterThanUs } = this.#options;
    const isLater = isLaterThanUs(request.mark);
    await judge(request.mark, request.regions);
    const before = this.#members.get(request.id);
    const isOther = before !== undefined && before.row.memoryId !== request.memoryId;
    const events: Happening[] = [];
    if (before !== undefined) {
      if (isOther && before.row.state !== 'ended' && !isLater) return this.#refuseOther(before);
      const older = isOther ? undefined : this.#refuseOlder(before, request, isLater);
      if (older !== undefined && !request.isTrusted) return older;
      events.push(...cameBack(before, request, older !== undefined));
    } else if (this.#members.size >= NODES_MAX) {
      return refuse(
        Status.NoSpace,
        `the rack has ${NODES_MAX} memory nodes, the most that one controller takes: ` +
          'join with larger nodes instead of more',
      );
    } else {
      events.push(eventOf('node-joined', { node: request.id }, facts(request)));
    }
    const found = reconcile(metadata, request, request.regions);
    const row = nodeRow(request);
    const changes: MetadataChange[] = [
      ...(isOther ? this.#lose(request.id, before.row.memoryId) : []),
      ...diskChanges(metadata, request),
      ...keptChanges(metadata, request),
    ];
    if (!isSameRow(before?.row, row)) changes.push({ table: 'nodes', put: row });
    if (!controllerFaults.regionGrantedTwiceAtRestart) changes.push(...found.changes);
    await metadata.commit(changes, { events });
    if (before !== undefined && (isOther || before.row.address !== row.address)) {
      calls.forget(before.row);
    }
    const member = isOther || before === undefined ? new Member(row) : before;
    this.#members.set(request.id, member);
    member.mark = request.mark;
    const isOurs = request.mark.controller === metadata.next('client');
    member.knowsSpaces = isOurs ? request.mark.nextSpace : 0;
    member.isReclaimed = false;
    member.isNew = before === undefined || (member.isNew && !isHeard);
    if (!member.isNew) this.#welcome(member, row, found);
    return ok({});
  }

  #welcome(member: Member, row: NodeRow, found: Reconciliation): void {
    member.row = row;
    member.isJoined = true;
    member.hasToldUse = false;
    member.isSuspect = false;
    member.seenMs = this.#options.clock.now();
    member.bytesLent = row.bytesLent;
    member.confirmed = found.confirmed;
    member.unknown = found.unknown;
    member.removing = found.removing;
    this.#options.returned(member);
  }

  /**
   * What it says of itself was so before something that the rack knows of it. Its file remembers a
   * few openings only: one that heard of changes that we do not know may have been opened often.
   */
  #refuseOlder(member: Member, request: NodeJoin, isLater: boolean): Refusal | undefined {
    const { row, isJoined } = member;
    const disk = this.#options.metadata.disks.get(row.id);
    const isKnown = disk === undefined || request.openings.includes(disk.opening);
    if (!isKnown && (isJoined || !isLater)) return refuseCopy(row);
    return request.incarnation < row.incarnation ? refuseOld(row) : undefined;
  }

  /** The rows that say that what this memory held is gone. */
  #lose(id: string, memoryId: number): MetadataChange[] {
    const changes: MetadataChange[] = [];
    for (const row of this.#options.metadata.regionsOfNode(id).values()) {
      if (row.memoryId !== memoryId || row.state === 'lost') continue;
      // The target may hold it by now: the move asks, and decides.
      const move = this.#options.metadata.moveOf(row);
      if (move !== undefined && move.fromMemory === memoryId) continue;
      changes.push({ table: 'regions', put: { ...row, state: 'lost' } });
    }
    return changes;
  }

  /** The id may be anything: it is shown to people, so nothing of it may steer a terminal. */
  #remember({ id: claimed, memoryId }: NodeJoin, { message }: Refusal): void {
    const id = claimed.replace(/[^ -~]/g, '?').slice(0, NAME_CHARACTERS_MAX);
    const others = this.#refusals.filter((refusal) => refusal.id !== id);
    this.#refusals = [...others, { id, memoryId, message, atMs: this.#options.clock.now() }].slice(
      -REFUSALS_SHOWN_MAX,
    );
  }
}

/** The node is let go: the next one of its id is another one. */
function drainEnd({ drains }: Metadata, id: string): MetadataChange[] {
  return drains.has(id) ? [{ table: 'drains', remove: id }] : [];
}

/** Nothing where it only has not heard that it was let in. */
function cameBack(
  { row, isJoined, isNew }: Member,
  request: NodeJoin,
  isOlder: boolean,
): Happening[] {
  const isOther = row.memoryId !== request.memoryId;
  const isStartedAgain = row.incarnation !== request.incarnation;
  if (!isOther && !isOlder && !isStartedAgain && (isJoined || isNew)) return [];
  const memory = isOther ? 'empty' : isOlder ? 'older' : 'kept';
  return [eventOf('node-back', { node: row.id }, { memory, ...facts(request) })];
}

function facts({ address, machine, incarnation, bytesLent }: NodeJoin) {
  return { address, machine, incarnation, bytesLent };
}

function isSame(row: NodeRow, beat: NodeHeartbeat): boolean {
  return row.memoryId === beat.memoryId && row.incarnation === beat.incarnation;
}

function refuseOld(row: NodeRow): Refusal {
  return refuse(
    Status.Stale,
    `memory node ${quote(row.id)} has been started again since (incarnation ${row.incarnation}): ` +
      'this process is no longer the one that serves its memory, and has to end',
  );
}

function refuseCopy(row: NodeRow): Refusal {
  return refuse(
    Status.Stale,
    `the file of memory node ${quote(row.id)} is older than what the rack has seen of it: a ` +
      'copy, or restored from one. Serve the one that was served last; if that is gone for good, ' +
      'say so by --trust-copy: what was stored since is lost then',
  );
}

function nodeRow(request: NodeJoin): NodeRow {
  const { id, memoryId, incarnation, address, machine, pid, pageBytes, bytesLent } = request;
  const { keeper, process } = request;
  return {
    id,
    memoryId,
    incarnation,
    address,
    machine,
    pid,
    keeper,
    process,
    pageBytes,
    bytesLent,
    state: 'member',
  };
}

function isSameRow(a: NodeRow | undefined, b: NodeRow): boolean {
  return a !== undefined && Object.keys(b).every((column) => a[column] === b[column]);
}

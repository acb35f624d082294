/**
 * The controller on a database that may be older than the truth: it asks all nodes before it
 * decides anything, theirs win, and what it gives out afterwards is above all that was given out
 * before. See docs/internals/restore.md.
 *
 *           a node's mark is higher              all nodes of the database have answered
 *   looking -----------------------> restoring ----------------------------------------> over
 *      |                                 ^ also from `over`, when such a node comes late    ^
 *      +---- all have answered, or some, and the silent ones count as away -----------------+
 */

import type { Epoch, SpaceId } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import type { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import type { ControllerMark } from '../disk/table-file.js';
import type { Clock } from '../runtime/clock.js';
import type { Entropy } from '../runtime/runtime.js';
import { MoveState } from '../wire/messages.js';
import { TAKER_NOBODY } from './garbage.js';
import { keptOf } from './kept.js';
import {
  EPOCH_END,
  LIVES_BEYOND,
  LIVES_MAX,
  NUMBERS_BEYOND,
  REGIONS_BEYOND,
  SILENT_BEYOND,
  SILENT_BEYOND_LEAST,
  SILENT_BEYOND_REGION,
  SPACE_ID_END,
} from './limits.js';
import { isAhead, isProof } from './mark.js';
import type { Member } from './member.js';
import type { Metadata, MetadataChange } from './metadata/metadata.js';
import type { CounterName, RegionRow } from './metadata/schema.js';
import type { MoveKnown, NodeCalls } from './node-calls.js';
import { controllerFaults } from './planted.js';
import { beyondLast, reclaim } from './reclaim.js';
import type { HeldRegion } from './reconcile.js';
import { type Refusal, refuse } from './refusal.js';
import { isAnyUnknown, type MovesThen, movesNow } from './unknown-moves.js';

export type RestorationPhase = 'looking' | 'restoring' | 'over';

export interface RestorationOptions {
  readonly clock: Clock;
  readonly metadata: Metadata;
  readonly changes: Serial;
  readonly calls: NodeCalls;
  readonly awayMs: number;
  readonly entropy: Entropy;
  readonly members: () => ReadonlyMap<string, Member>;
  /** Within a change: the last region of a node that has ended may be another's now. */
  readonly forgetIfNothingIsLeft: (node: string) => Promise<void>;
  /** It turned out that the database is an older copy, or that has come to its end. */
  readonly noted: (what: 'begun' | 'ended') => void;
}

interface Answer {
  readonly memoryId: number;
  /** Epochs, by `regionKey`. */
  readonly held: ReadonlyMap<number, number>;
  /** Regions that the node is handing over, and does not know whether the other one has them. */
  readonly doubts: readonly MoveKnown[];
}

/** What a node was asked, and what it has said. */
interface Told {
  readonly life: number;
  readonly then: MovesThen;
  /** It was asked when no move could begin or go on any more, but for what is in doubt. */
  readonly wereAtRest: boolean;
  readonly moves: readonly MoveKnown[];
  readonly held: readonly HeldRegion[];
}

export class Restoration {
  readonly #options: RestorationOptions;
  readonly #startedMs: number;
  #isLooking: boolean;
  /** Nodes were silent for so long that it went on without them. */
  #isWithoutSilent = false;
  /** Of nodes that were asked in this life of the controller, by id. */
  readonly #answers = new Map<string, Answer>();
  /** The same while it restores, of those that are in doubt about a region. */
  readonly #doubtful = new Map<string, Answer>();
  /** By node in doubt: targets that it named and nobody knows. */
  readonly #unsettled = new Map<string, readonly string[]>();
  /** Ids of nodes that are in the database, or were in this life. */
  readonly #known: Set<string>;
  /** Memory of nodes whose moves have come to rest, by id. */
  readonly #atRest = new Map<string, number>();
  /** When all nodes of the database had told, while it restores. */
  #toldMs = Infinity;
  /** The highest of what nodes remember that proved the database to be older. */
  readonly #seen = { commit: 0, life: 0 };

  constructor(options: RestorationOptions) {
    this.#options = options;
    this.#startedMs = options.clock.now();
    this.#known = new Set(options.metadata.nodes.keys());
    this.#isLooking = [...options.metadata.nodes.values()].some(({ state }) => state === 'member');
  }

  get phase(): RestorationPhase {
    if (this.#isRestoring) return 'restoring';
    if (this.#unanswered().length === 0) this.#isLooking = false;
    return this.#isLooking ? 'looking' : 'over';
  }

  get #isLate(): boolean {
    const { clock, awayMs } = this.#options;
    const hasWaited = clock.now() - this.#startedMs > awayMs && this.#answers.size > 0;
    return this.phase === 'looking' && hasWaited;
  }

  get #isRestoring(): boolean {
    return this.#options.metadata.next('restoring') !== 0;
  }

  /** Nodes of the database that have not told what they hold, by id. */
  awaited(): string[] {
    const isResting = this.#isRestoring && !this.#areAtRest;
    return isResting ? this.#without((id) => this.#atRest.get(id)) : this.#unanswered();
  }

  /** The same, and those that are to be asked again, as others were not at rest yet. */
  #unanswered(): string[] {
    return this.#without((id) => this.#answers.get(id)?.memoryId);
  }

  /** Nodes of the database of whose memory as it is now something is not so yet. */
  #without(memoryOf: (id: string) => number | undefined): string[] {
    return [...this.#options.metadata.nodes.values()]
      .filter(({ id, memoryId, state }) => state === 'member' && memoryOf(id) !== memoryId)
      .map(({ id }) => id);
  }

  get #areAtRest(): boolean {
    return this.#without((id) => this.#atRest.get(id)).length === 0;
  }

  /** Targets of regions that are in doubt, which nobody knows: they have to come. */
  unknownTargets(): string[] {
    const all = [...this.#unsettled.values()].flat();
    return [...new Set(all)];
  }

  /** Whether a node that has not answered yet may hold what the database does not know. */
  get mayLack(): boolean {
    return this.phase !== 'over' || (this.#isWithoutSilent && this.#unanswered().length > 0);
  }

  /** Why nothing may be decided now; undefined: it may. */
  refusal(): Refusal | undefined {
    const { phase } = this;
    if (phase === 'over') return undefined;
    const nodes = this.awaited().slice(0, 8).join(', ');
    const why =
      phase === 'looking'
        ? 'the controller has just started, and asks its nodes what they hold'
        : 'the controller works on an older copy of its database, and decides nothing until all ' +
          'its nodes have told what they hold';
    const whom = nodes === '' ? 'nodes that joined since, and may have what others lack' : nodes;
    return refuse(Status.Unavailable, `${why}; it waits for ${whom}`);
  }

  /** Within a change, before the node is let in: what it remembers may show how old we are. */
  async judge(mark: ControllerMark, held: readonly HeldRegion[]): Promise<void> {
    const { metadata } = this.#options;
    if (controllerFaults.regionGrantedTwiceAtRestart || controllerFaults.marksIgnored) return;
    if (isProof(metadata, mark) || isAhead(metadata, mark, held)) await this.#begin(mark);
    else await metadata.commit(this.#remembered(mark));
  }

  /** Kept at once: the node may be gone before this has come to its end, and so may we. */
  #remembered({ controller, nextSpace, nextEpoch }: ControllerMark): MetadataChange[] {
    const isOurs = controller === this.#options.metadata.next('client');
    // An epoch that the node refuses for ever it refuses from whoever names it.
    return this.#raised({ epoch: nextEpoch, ...(isOurs ? { space: nextSpace } : {}) });
  }

  /**
   * Whether memory of this mark was let in, or there, since the database was copied. Other memory
   * than the one that we know: that one has ended.
   */
  isLaterThanUs(mark: ControllerMark): boolean {
    return isProof(this.#options.metadata, mark);
  }

  /** Asks the node if its answer is wanted. Called whenever it gives a sign of life. */
  async ask(member: Member): Promise<void> {
    const wereAtRest = this.#areAtRest;
    await this.#askOne(member);
    // What was asked before a node was at rest may not be so any more.
    if (this.#isRestoring && this.#areAtRest && !wereAtRest) {
      await Promise.all([...this.#options.members().values()].map((one) => this.#askOne(one)));
    }
    await this.#settleDoubts();
    if (this.#isLate) await this.#options.changes.run(() => this.#goOnWithoutSilent());
  }

  /**
   * Within a change. All that a silent node was given since an older copy is above what this
   * database gave out: numbers jump over it, so that it is nobody else's when the node is back. By
   * chance, as the life in which it was given out may have begun with a jump from this copy, too.
   */
  async #goOnWithoutSilent(): Promise<void> {
    const { metadata, entropy } = this.#options;
    if (!this.#isLate) return;
    const chance = entropy.u32() % (SILENT_BEYOND - SILENT_BEYOND_LEAST);
    const beyond = controllerFaults.silentNotAbove ? 0 : SILENT_BEYOND_LEAST + 1 + chance;
    await metadata.commit([
      ...this.#spacesBeyond(Math.ceil(beyond / SILENT_BEYOND_REGION)),
      ...this.#raised({
        space: Math.min(metadata.next('space') + beyond, SPACE_ID_END),
        epoch: Math.min(metadata.next('epoch') + beyond, EPOCH_END),
      }),
    ]);
    this.#isWithoutSilent = true;
    this.#isLooking = false;
  }

  #spacesBeyond(count: number): MetadataChange[] {
    return [...this.#options.metadata.spaces.values()].map((space) => {
      return { table: 'spaces', put: beyondLast(space, count) } as const;
    });
  }

  async #askOne(member: Member): Promise<void> {
    const { metadata, calls, changes } = this.#options;
    const isWanted = this.mayLack && this.#unanswered().includes(member.row.id);
    const hasMore = metadata.next('restores') > 0 && member.unknown.length > 0;
    if (!member.isJoined || !(isWanted || (hasMore && !member.isReclaimed))) return;
    const { memoryId } = member.row;
    const asked = {
      life: metadata.next('life'),
      then: movesNow(metadata),
      wereAtRest: this.#areAtRest,
    };
    const moves = await calls.nodeMoves(member.row, this.#isRestoring);
    // After it, on the same connection: what came to rest is in the list or not, for good.
    const held = moves && (await calls.heldRegions(member.row));
    if (moves === undefined || held === undefined) return;
    await changes.run(async () => {
      // Asked over an older connection: something of before may have come after its answer.
      const isStale = metadata.next('life') !== asked.life || member.row.memoryId !== memoryId;
      if (!isStale && member.isJoined) await this.#take(member, { ...asked, moves, held });
    });
  }

  /**
   * Nodes that handed a region over and do not know whether it was taken, when all have said what
   * they hold: nothing was taken since, nor ever will be.
   */
  async #settleDoubts(): Promise<void> {
    const { metadata, calls, members } = this.#options;
    const isAllTold = this.#without((id) => {
      return (this.#answers.get(id) ?? this.#doubtful.get(id))?.memoryId;
    });
    if (!this.#isRestoring || this.#doubtful.size === 0 || isAllTold.length > 0) return;
    const answers = [...this.#answers.values(), ...this.#doubtful.values()];
    const doubtful = [...this.#doubtful];
    this.#doubtful.clear();
    for (const [id, { doubts, held, memoryId }] of doubtful) {
      this.#unsettled.delete(id);
      const member = members().get(id);
      if (member === undefined || member.row.memoryId !== memoryId) continue;
      for (const { space, region, epoch, to } of doubts) {
        const key = regionKey(space, region);
        const row = metadata.regionsOf(space).get(region);
        const epochs = answers.map((answer) => answer.held.get(key) ?? 0);
        const last = Math.max(...epochs, row?.epoch ?? 0);
        const isTaken = last > (held.get(key) ?? 0);
        // It may have been taken by a node that is not known here: that has to come.
        const isKnown =
          to === '' || this.#known.has(to) || metadata.moves.get(key)?.epoch === epoch;
        if (!isTaken && !isKnown) {
          this.#unsettled.set(id, [...(this.#unsettled.get(id) ?? []), to]);
          continue;
        }
        const move = { space, region, epoch: (isTaken ? last : epoch) as Epoch };
        await calls.moveEnd(member.row, move, isTaken);
      }
      await this.#askOne(member);
    }
  }

  /** Within a change: nodes may have been said to be gone that were waited for. */
  async finishIfAll(): Promise<void> {
    const { metadata } = this.#options;
    if (this.#unanswered().length > 0 && !controllerFaults.oneAnswerIsEnough) return;
    if (this.#isRestoring) {
      if (!this.#mayBeElsewhere()) await this.#finish();
    } else if (this.#answers.size > 0) await metadata.commit(this.#judged());
  }

  /**
   * What its node does not hold any more may be at one that joined since the copy, and that nobody
   * here knows: it has some time to come before that is called lost.
   */
  #mayBeElsewhere(): boolean {
    const { clock, awayMs } = this.#options;
    this.#toldMs = Math.min(this.#toldMs, clock.now());
    if (controllerFaults.oneAnswerIsEnough || this.#heldByNobody().length === 0) return false;
    return clock.now() - this.#toldMs <= awayMs;
  }

  /** All nodes have answered, and there are some: what is committed from here on is the truth. */
  #judged(): MetadataChange[] {
    const commits = [...this.#options.metadata.starts.keys()];
    return commits.map((remove) => ({ table: 'starts', remove }) as const);
  }

  async #take(member: Member, told: Told): Promise<void> {
    const { metadata } = this.#options;
    const { id, memoryId } = member.row;
    const { held, life, moves } = told;
    this.#known.add(id);
    await this.judge(member.mark, held);
    await this.#judgeMoves(member, told);
    // It was the proof: asked under the life before, so a grant of that may have come after it.
    if (metadata.next('life') !== life) return;
    const isOlder = this.#isRestoring || metadata.next('restores') > 0;
    if (isOlder && !controllerFaults.answersIgnored) {
      const found = reclaim(metadata, member.row, held);
      const numbers = metadata.spaces;
      const rows = found.changes.flatMap((change) => {
        return change.table === 'regions' && 'put' in change ? [change.put] : [];
      });
      const before = rows.flatMap((row) => metadata.regionsOf(row.space).get(row.region) ?? []);
      const kept = keptOf(metadata, id, rows);
      const changes = [...found.changes, ...kept, ...this.#numbersOf(held, numbers)];
      await metadata.commit(changes, { isRestored: true });
      member.confirmed = found.confirmed;
      member.unknown = found.unknown;
      member.removing = found.removing;
      member.isReclaimed = true;
      for (const row of before) if (row.node !== id) await this.#taken(row);
    }
    const epochs = held.map(({ space, region, epoch }) => {
      return [regionKey(space, region), epoch] as const;
    });
    const doubts = moves.filter(({ state }) => state === MoveState.HANDING);
    const answer = { memoryId, held: new Map(epochs), doubts };
    const { movesGoOn, oneAnswerIsEnough } = controllerFaults;
    if (this.#isRestoring && !movesGoOn && !oneAnswerIsEnough) {
      this.#atRest.set(id, memoryId);
      this.#doubtful.delete(id);
      if (!told.wereAtRest) return;
      if (doubts.length > 0) return void this.#doubtful.set(id, answer);
    }
    this.#unsettled.delete(id);
    this.#answers.set(id, answer);
    await this.finishIfAll();
  }

  /** A move that this database has not begun, from a node that knows its controller. */
  async #judgeMoves({ mark, row }: Member, { moves, then }: Told): Promise<void> {
    const { metadata } = this.#options;
    const isOurs = mark.controller === metadata.next('client');
    if (this.#isRestoring || !isOurs || controllerFaults.movesGoOn) return;
    if (isAnyUnknown(metadata, row, moves, then)) await this.#begin(mark);
  }

  /** It is another node's now. */
  async #taken({ node, space, region }: RegionRow): Promise<void> {
    const { members, forgetIfNothingIsLeft } = this.#options;
    members().get(node)?.confirmed.delete(regionKey(space, region));
    await forgetIfNothingIsLeft(node);
  }

  /** What unknown spaces and their regions have used up. */
  #numbersOf(held: readonly HeldRegion[], known: ReadonlyMap<SpaceId, unknown>): MetadataChange[] {
    const { metadata } = this.#options;
    let space: number = metadata.next('space');
    let epoch: number = metadata.next('epoch');
    for (const one of held) {
      if (!known.has(one.space)) space = Math.max(space, one.space + 1);
      epoch = Math.max(epoch, one.epoch + 1);
    }
    return this.#raised({ space, epoch });
  }

  /** Within a change. Durable before anybody is asked under the new life. */
  async #begin(mark: ControllerMark): Promise<void> {
    const { metadata, calls } = this.#options;
    for (const key of ['commit', 'life'] as const) {
      this.#seen[key] = Math.max(this.#seen[key], mark[key]);
    }
    const remembered = this.#remembered(mark);
    const { life } = this.#seen;
    const isFenced = this.#isRestoring && life < metadata.next('life');
    if (isFenced) return metadata.commit(remembered);
    const next = Math.min(Math.max(life, metadata.next('life')) + LIVES_BEYOND, LIVES_MAX);
    await metadata.commit([
      { table: 'counters', put: { name: 'restoring', next: 1 } },
      { table: 'counters', put: { name: 'life', next } },
      ...remembered,
      ...this.#raised({ event: metadata.history.sequenceAbove(this.#seen.commit) }),
    ]);
    this.#answers.clear();
    this.#doubtful.clear();
    this.#unsettled.clear();
    this.#atRest.clear();
    this.#toldMs = Infinity;
    calls.reconnect(next);
    this.#options.noted('begun');
  }

  /** Within a change: everybody has been heard. */
  async #finish(): Promise<void> {
    const { metadata } = this.#options;
    const lost = this.#heldByNobody();
    const files = [...metadata.files.keys()].filter((key) => !metadata.doubtfulFiles.has(key));
    const isBeyond = !controllerFaults.grantsNotAbove;
    const beyond = isBeyond ? this.#beyond(NUMBERS_BEYOND) : 0;
    await metadata.commit([
      ...lost.map((row) => ({ table: 'regions', put: { ...row, state: 'lost' } }) as const),
      // Whatever they were: both ends are at rest, and it is known who has the region.
      ...[...metadata.moves.values()].map((remove) => ({ table: 'moves', remove }) as const),
      ...(isBeyond ? this.#spacesBeyond(this.#beyond(REGIONS_BEYOND)) : []),
      ...[...metadata.garbage.values()].map((row) => {
        return { table: 'garbage', put: { ...row, taker: TAKER_NOBODY } } as const;
      }),
      ...files.map((key) => ({ table: 'doubtfulFiles', put: { key } }) as const),
      ...this.#raised({
        space: Math.min(metadata.next('space') + beyond, SPACE_ID_END),
        epoch: Math.min(metadata.next('epoch') + beyond, EPOCH_END),
        commit: Math.max(metadata.next('commit'), this.#seen.commit) + beyond,
        restores: metadata.next('restores') + 1,
        event: metadata.history.sequenceAbove(this.#seen.commit),
      }),
      { table: 'counters', put: { name: 'restoring', next: 0 } },
      ...this.#judged(),
    ]);
    metadata.believe();
    this.#isLooking = false;
    this.#options.noted('ended');
  }

  /** So far at least, and by chance: an earlier restoration of this copy may have jumped, too. */
  #beyond(least: number): number {
    return least + (this.#options.entropy.u32() % least);
  }

  #heldByNobody(): RegionRow[] {
    const rows: RegionRow[] = [];
    for (const [id, { memoryId, held }] of this.#answers) {
      for (const [key, row] of this.#options.metadata.regionsOfNode(id)) {
        if (row.memoryId !== memoryId || row.state !== 'granted' || held.has(key)) continue;
        rows.push(row);
      }
    }
    return rows;
  }

  #raised(wanted: Partial<Record<CounterName, number>>): MetadataChange[] {
    const { metadata } = this.#options;
    return Object.entries(wanted)
      .map(([name, next]) => ({ name: name as CounterName, next }))
      .filter(({ name, next }) => next > metadata.next(name))
      .map((put) => ({ table: 'counters', put }) as const);
  }
}

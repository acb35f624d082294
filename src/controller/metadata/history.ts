/**
 * What happened to the rack: who owned what when, and which nodes came and went.
 *
 * Most events are read off the changes that they tell of, and are written in the same commit: so
 * nothing is told that was not done, and nothing done that is not told. What changes no row (a node
 * that is silent) waits for the next commit, or for `commitEvents`; a crash may come first.
 *
 * The newest are kept, by count and by age. Their order is that of `sequence`: the clock on the
 * wall may be set back. On an older copy of the database the sequence goes on above all that was
 * told before (`sequenceAbove`), with a gap where the copy does not know what happened.
 */
import type { RegionIndex, SpaceId } from '../../base/brands.js';
import type { Clock } from '../../runtime/clock.js';
import type { MetadataChange } from './change.js';
import type {
  CounterName,
  DeviceRow,
  DrainRow,
  EventRow,
  MoveRow,
  NodeRow,
  RegionRow,
  SpaceRow,
} from './schema.js';

/** How many are kept; each takes some 300 bytes of the controller's memory and of its database. */
export const EVENTS_MAX = 16_384;
/** Those that are older go, but for the newest: a clock that was set wrong takes not all. */
export const EVENTS_KEPT_MS = 90 * 24 * 3_600_000;
export const EVENTS_KEPT_ANYWAY = 1_024;
/** Of one commit; what is left out is counted. */
export const EVENTS_PER_COMMIT_MAX = 1_024;
/** Old ones that go with one commit, beside one for each new one. */
const DROPPED_MAX = 64;
/** Moves of one region that fail again and again are told so often, and for so many reasons. */
const TOLD_AGAIN_MS = 600_000;
const REASONS_MAX = 4;
/** So many of them are known apart. */
const FAILED_MAX = 4_096;
/** A sequence is a number that is exact. */
const SEQUENCE_END = Number.MAX_SAFE_INTEGER / 2;

/** These words are kept. Each has its line in docs/seeing.md. */
export const EVENT_KINDS = [
  'controller-started',
  'metadata-older',
  'metadata-restored',
  'node-joined',
  'node-back',
  'node-away',
  'node-ended',
  'node-removed',
  'node-short',
  'node-well',
  'drain-begun',
  'drain-done',
  'drain-cancelled',
  'space-created',
  'space-removed',
  'space-restored',
  'device-created',
  'device-resized',
  'device-removed',
  'region-granted',
  'region-returned',
  'region-moved',
  'region-lost',
  'region-restored',
  'move-begun',
  'move-done',
  'move-cancelled',
  'events-left-out',
] as const;

export type EventKind = (typeof EVENT_KINDS)[number];
export type Details = Readonly<Record<string, string | number>>;

/** An event before it has its sequence and its time. */
export interface Happening {
  readonly kind: EventKind;
  readonly node?: string;
  readonly space?: number;
  readonly spaceName?: string;
  readonly region?: number;
  readonly epoch?: number;
  readonly details: Details;
}

/** What the changes of a commit do not show by themselves. */
export interface Telling {
  /** Rows are taken over from what nodes hold. */
  readonly isRestored?: boolean;
  /** Of the end of a move. */
  readonly details?: Details;
  readonly events?: readonly Happening[];
}

export type Subject = Omit<Happening, 'kind' | 'details'>;

export function eventOf(kind: EventKind, subject: Subject, details: Details = {}): Happening {
  return { kind, ...subject, details };
}

/** What holds before the changes of a commit. */
export interface Before {
  readonly nodes: ReadonlyMap<string, NodeRow>;
  readonly spaces: ReadonlyMap<SpaceId, SpaceRow>;
  readonly drains: ReadonlyMap<string, DrainRow>;
  readonly devices: ReadonlyMap<string, DeviceRow>;
  regionsOf(space: SpaceId): ReadonlyMap<RegionIndex, RegionRow>;
  next(name: CounterName): number;
  opened(name: CounterName): number;
  readonly openedTrue: number;
}

/** Of a region: a move that did not come about, and those that followed it. */
interface Failed {
  readonly toldMs: number;
  /** That were told. */
  readonly reasons: Set<string>;
  /** Moves since, of which nothing was told. */
  untold: number;
}

interface Waiting {
  readonly atMs: number;
  readonly event: Happening;
}

export class History {
  readonly #before: Before;
  readonly #clock: Pick<Clock, 'wall'>;
  /** By sequence, the oldest first. */
  readonly #rows = new Map<number, EventRow>();
  #waiting: Waiting[] = [];
  /** By space and region. */
  readonly #failed = new Map<string, Failed>();

  constructor(before: Before, clock: Pick<Clock, 'wall'>) {
    this.#before = before;
    this.#clock = clock;
  }

  /** Events that no commit has taken yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The oldest first. */
  get rows(): ReadonlyMap<number, EventRow> {
    return this.#rows;
  }

  /** Told with the next commit. The first ones go when there are too many. */
  note(events: readonly Happening[]): void {
    const atMs = this.#clock.wall();
    this.#waiting.push(...events.map((event) => ({ atMs, event })));
    this.#waiting = this.#waiting.slice(-EVENTS_PER_COMMIT_MAX / 2);
  }

  put(row: EventRow): void {
    this.#rows.set(row.sequence, row);
  }

  remove(sequence: number): void {
    this.#rows.delete(sequence);
  }

  /**
   * Above all sequences that were given before a commit of this number, by a controller that went
   * on where this database was copied.
   */
  sequenceAbove(commit: number): number {
    const commits = Math.max(0, commit - this.#before.openedTrue);
    const beyond = (commits + 1) * EVENTS_PER_COMMIT_MAX;
    return Math.min(this.#before.opened('event') + beyond, SEQUENCE_END);
  }

  /** What is written with these changes, which are not applied yet. Takes the events that wait. */
  changesFor(changes: readonly MetadataChange[], telling: Telling): MetadataChange[] {
    const atMs = this.#clock.wall();
    const found = [
      ...changes.flatMap((change) => this.#meaning(change, changes, telling)),
      ...(telling.events ?? []),
    ].map((event) => ({ atMs, event }));
    const all = [...this.#waiting, ...found];
    this.#waiting = [];
    if (all.length === 0) return [];
    const kept = all.slice(0, EVENTS_PER_COMMIT_MAX - 1);
    const count = all.length - kept.length;
    if (count > 0) kept.push({ atMs, event: eventOf('events-left-out', {}, { count }) });
    const first = Math.max(this.#before.next('event'), numberGiven(changes));
    const rows = kept.map(({ atMs: at, event }, i) => eventRow(event, first + i, at));
    return [
      ...rows.map((put) => ({ table: 'events', put }) as const),
      { table: 'counters', put: { name: 'event', next: first + rows.length } },
      ...this.#dropped(rows.length, atMs),
    ];
  }

  /** The oldest, for so many new ones. */
  #dropped(added: number, nowMs: number): MetadataChange[] {
    const dropped: MetadataChange[] = [];
    let left = this.#rows.size + added;
    for (const { sequence, atMs } of this.#rows.values()) {
      const isOld = nowMs - atMs > EVENTS_KEPT_MS && left > EVENTS_KEPT_ANYWAY;
      if (left <= EVENTS_MAX && !isOld) break;
      if (dropped.length >= added + DROPPED_MAX) break;
      dropped.push({ table: 'events', remove: sequence });
      left--;
    }
    return dropped;
  }

  #meaning(
    change: MetadataChange,
    all: readonly MetadataChange[],
    telling: Telling,
  ): readonly Happening[] {
    switch (change.table) {
      case 'counters':
        return this.#ofCounter(change.put);
      case 'nodes':
        return 'put' in change ? this.#ofNode(change.put) : this.#ofNodeGone(change.remove);
      case 'spaces':
        return 'put' in change ? this.#ofSpace(change.put, telling) : [];
      case 'regions':
        return 'put' in change
          ? this.#ofRegion(change.put, all, telling)
          : this.#ofRegionGone(change.remove);
      case 'moves':
        return 'put' in change ? this.#ofMove(change.put) : this.#ofMoveEnd(change.remove, telling);
      case 'drains':
        return 'put' in change ? this.#ofDrain(change.put) : this.#ofDrainGone(change.remove, all);
      case 'devices':
        return 'put' in change ? this.#ofDevice(change.put) : this.#ofDeviceGone(change.remove);
      default:
        return [];
    }
  }

  #ofCounter({ name, next }: { readonly name: string; readonly next: number }): Happening[] {
    if (name !== 'restoring' || next === this.#before.next('restoring')) return [];
    return [eventOf(next === 0 ? 'metadata-restored' : 'metadata-older', {})];
  }

  /** Who came, and with which memory, is told by who let it in. */
  #ofNode(row: NodeRow): Happening[] {
    const before = this.#before.nodes.get(row.id);
    if (row.state !== 'ended' || before?.state === 'ended') return [];
    return [eventOf('node-ended', { node: row.id })];
  }

  #ofNodeGone(id: string): Happening[] {
    // One that has ended is forgotten when nothing is left of it: that has been told.
    if (this.#before.nodes.get(id)?.state !== 'member') return [];
    return [eventOf('node-removed', { node: id })];
  }

  #ofDrain({ node, state }: DrainRow): Happening[] {
    const before = this.#before.drains.get(node)?.state;
    if (state === before || state === 'ended') return [];
    return [eventOf(state === 'drained' ? 'drain-done' : 'drain-begun', { node })];
  }

  /** With its node it goes without a word. */
  #ofDrainGone(node: string, all: readonly MetadataChange[]): Happening[] {
    const isRemoved = all.some((one) => one.table === 'nodes' && 'remove' in one);
    const isKnown = this.#before.drains.has(node);
    return isRemoved || !isKnown ? [] : [eventOf('drain-cancelled', { node })];
  }

  #ofDevice({ name, bytes, copies }: DeviceRow): Happening[] {
    const before = this.#before.devices.get(name);
    if (before?.bytes === bytes) return [];
    if (before !== undefined) return [eventOf('device-resized', {}, { device: name, bytes })];
    return [eventOf('device-created', {}, { device: name, bytes, copies })];
  }

  #ofDeviceGone(name: string): Happening[] {
    return [eventOf('device-removed', {}, { device: name })];
  }

  #ofSpace(row: SpaceRow, { isRestored }: Telling): Happening[] {
    const before = this.#before.spaces.get(row.id);
    const subject = { space: row.id, spaceName: row.name };
    if (before === undefined) {
      const kind = isRestored === true ? 'space-restored' : 'space-created';
      return [eventOf(kind, subject, { kind: row.kind })];
    }
    const isRemoved = row.state === 'removing' && before.state === 'active';
    return isRemoved ? [eventOf('space-removed', subject)] : [];
  }

  #ofRegion(
    row: RegionRow,
    all: readonly MetadataChange[],
    { isRestored }: Telling,
  ): readonly Happening[] {
    const before = this.#before.regionsOf(row.space).get(row.region);
    const subject = { ...this.#place(row, all), epoch: row.epoch, node: row.node };
    const isOther = before?.epoch !== row.epoch || before.memoryId !== row.memoryId;
    const from = before === undefined ? {} : { from: before.node, fromEpoch: before.epoch };
    const events: Happening[] = [];
    if (isOther && isRestored === true) events.push(eventOf('region-restored', subject, from));
    else if (before === undefined) events.push(eventOf('region-granted', subject));
    else if (isOther) events.push(eventOf('region-moved', subject, from));
    const isLost = row.state === 'lost' && (isOther || before.state !== 'lost');
    if (isLost) events.push(eventOf('region-lost', subject));
    return events;
  }

  #ofRegionGone({ space, region }: RegionRow): Happening[] {
    const row = this.#before.regionsOf(space).get(region);
    // With its space it goes without a word, and what is lost has been told.
    const isKept = this.#before.spaces.get(space)?.state === 'active';
    if (row === undefined || row.state === 'lost' || !isKept) return [];
    const subject = { ...this.#place(row, []), epoch: row.epoch, node: row.node };
    return [eventOf('region-returned', subject)];
  }

  #ofMove(row: MoveRow): Happening[] {
    if (this.#failedLately(row) !== undefined) return [];
    const subject = { ...this.#place(row, []), epoch: row.epoch, node: row.fromNode };
    return [eventOf('move-begun', subject, { to: row.toNode })];
  }

  #ofMoveEnd(row: MoveRow, { details = {} }: Telling): Happening[] {
    const owner = this.#before.regionsOf(row.space).get(row.region);
    const isDone = owner?.epoch === row.epoch;
    if (isDone) this.#failed.delete(`${row.space}/${row.region}`);
    const subject = { ...this.#place(row, []), epoch: row.epoch, node: row.fromNode };
    const to = { to: row.toNode };
    if (isDone) return [eventOf('move-done', subject, { ...to, ...details })];
    const last = this.#failedLately(row);
    const reason = String(details['reason'] ?? '');
    const end = eventOf('move-cancelled', subject, { ...to, ...details });
    if (last !== undefined) {
      const isTold = !last.reasons.has(reason) && last.reasons.size < REASONS_MAX;
      if (isTold) last.reasons.add(reason);
      else last.untold += 1;
      return isTold ? [end] : [];
    }
    const key = `${row.space}/${row.region}`;
    const before = this.#failed.get(key);
    const untold = before === undefined || before.untold === 0 ? {} : { before: before.untold };
    this.#failed.delete(key);
    const toldMs = this.#clock.wall();
    this.#failed.set(key, { toldMs, reasons: new Set([reason]), untold: 0 });
    const [oldest] = this.#failed.keys();
    if (this.#failed.size > FAILED_MAX && oldest !== undefined) this.#failed.delete(oldest);
    return [{ ...end, details: { ...end.details, ...untold } }];
  }

  /** A clock that was set back does not make it last. */
  #failedLately({ space, region }: MoveRow): Failed | undefined {
    const last = this.#failed.get(`${space}/${region}`);
    if (last === undefined) return undefined;
    return Math.abs(this.#clock.wall() - last.toldMs) < TOLD_AGAIN_MS ? last : undefined;
  }

  /** The name of a space may come with the same commit. */
  #place({ space, region }: RegionRow | MoveRow, all: readonly MetadataChange[]) {
    const known = this.#before.spaces.get(space);
    if (known !== undefined) return { space, spaceName: known.name, region };
    for (const change of all) {
      const isIts = change.table === 'spaces' && 'put' in change && change.put.id === space;
      if (isIts) return { space, spaceName: change.put.name, region };
    }
    return { space, spaceName: '', region };
  }
}

function numberGiven(changes: readonly MetadataChange[]): number {
  let given = 0;
  for (const change of changes) {
    if (change.table === 'counters' && change.put.name === 'event') given = change.put.next;
  }
  return given;
}

function eventRow(event: Happening, sequence: number, atMs: number): EventRow {
  const { kind, node = '', space = 0, spaceName = '', region = 0, epoch = 0, details } = event;
  return {
    sequence,
    atMs: Math.round(atMs),
    kind,
    node,
    space,
    spaceName,
    region,
    epoch,
    details: JSON.stringify(details),
  };
}

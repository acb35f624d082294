/** For tests only: a controller on fakes whose time, nodes and database the test moves itself. */

import type { SpaceId } from '../../base/brands.js';
import { Prng } from '../../base/prng.js';
import { regionKey } from '../../base/region-key.js';
import { Status } from '../../base/status.js';
import type { ControllerMark } from '../../disk/table-file.js';
import { placementPolicy } from '../../policies/placement/placement-policies.js';
import type { RebalancingPolicy } from '../../policies/rebalancing/rebalancing.js';
import type { Clock, Timers } from '../../runtime/clock.js';
import type { Change, Database, Databases, Row, Schema } from '../../runtime/database.js';
import { DiskError } from '../../runtime/disk.js';
import { MoveState } from '../../wire/messages.js';
import type { ControllerApi } from '../api.js';
import { Controller } from '../controller.js';
import type { NodeJoin } from '../join-rules.js';
import type { LeaseCalls } from '../lease-calls.js';
import { localApi, type LocalApiOptions } from '../local-api.js';
import { NO_MARK, ownMark } from '../mark.js';
import { openMetadata } from '../metadata/open.js';
import type {
  Answer,
  KnownCopy,
  MoveKnown,
  MoveOfRegion,
  MoveOutOrder,
  MoveProgress,
  NodeCalls,
  RegionGrant,
  RegionsToGive,
} from '../node-calls.js';

export const GIB = 2 ** 30;

const NEVER = new Promise<never>(() => undefined);

/** Tables that survive a controller. */
export class FakeDatabases implements Databases {
  readonly tables = new Map<string, Map<string, Row>>();
  /** A controller that was killed: what its database is asked for never ends. */
  isDead: () => boolean = () => false;
  /** Called before a commit is applied; may throw, then the disk is as it was. */
  beforeCommit: (changes: readonly Change[]) => void = () => undefined;
  /** Called when a commit is applied and before its caller knows. */
  afterCommit: (changes: readonly Change[]) => void = () => undefined;
  commits = 0;

  restore(): Promise<void> {
    return Promise.reject(new DiskError('denied', 'fakes are not restored'));
  }

  open(_folder: string | undefined, _name: string, schema: Schema): Promise<Database> {
    for (const name of Object.keys(schema)) {
      if (!this.tables.has(name)) this.tables.set(name, new Map());
    }
    const keyOf = (table: string, row: Row): string =>
      JSON.stringify(schema[table]?.key.map((column) => row[column]));
    const isDead = this.isDead;
    return Promise.resolve({
      copy: () => Promise.resolve(Uint8Array.of(1, 2, 3)),
      select: (table) => [...(this.tables.get(table)?.values() ?? [])],
      commit: async (changes) => {
        // Slower than a call to a node: who does not wait for it is found out.
        for (let i = 0; i < 20; i++) await Promise.resolve();
        if (isDead()) return NEVER;
        this.beforeCommit(changes);
        if (isDead()) return NEVER;
        for (const change of changes) {
          const name = 'put' in change ? change.put : change.remove;
          const table = this.tables.get(name);
          if (table === undefined) throw new DiskError('io', `no table ${name}`);
          if ('put' in change) table.set(keyOf(name, change.row), { ...change.row });
          else table.delete(keyOf(name, change.key));
        }
        this.commits++;
        this.afterCommit(changes);
        if (isDead()) return NEVER;
        return undefined;
      },
      close: () => Promise.resolve(),
    });
  }
}

/** A memory node: what it holds, and how it answers. */
export class FakeNode {
  readonly address: string;
  readonly held = new Map<number, RegionGrant>();
  answer: (call: 'grant' | 'remove') => Status = () => Status.Ok;
  /** Whether a refused or unknown call was executed nevertheless. */
  executesAnyway = false;
  readonly calls: string[] = [];
  /** So many regions at most may stay here; each uses one page. */
  mayKeep = Infinity;
  /** Else what it is told of the controller's database does not reach it. */
  hearsMarks = true;
  /** What it was told of the controller's database. */
  mark = NO_MARK;

  constructor(address: string) {
    this.address = address;
  }

  grant(grant: RegionGrant): Status {
    const status = this.answer('grant');
    this.calls.push(`grant ${grant.space}/${grant.region}`);
    if (status === Status.Ok || this.executesAnyway) {
      this.held.set(regionKey(grant.space, grant.region), grant);
    }
    return status;
  }

  /** The first ones that it holds are to go first. */
  toGive(): RegionsToGive {
    this.calls.push('toGive');
    const bytes = 2 ** 21;
    const count = Math.max(0, this.held.size - this.mayKeep);
    const regions = [...this.held.values()].map(({ space, region }) => ({ space, region, bytes }));
    return { bytes: count * bytes, regions: count === 0 ? [] : regions };
  }

  /** What is on its way from there and to there; those that are stopped are no more. */
  onTheWay: readonly MoveKnown[] = [];

  moves(stops: boolean): readonly MoveKnown[] {
    const isInDoubt = ({ state }: MoveKnown): boolean => state === MoveState.HANDING;
    if (stops) this.onTheWay = this.onTheWay.filter(isInDoubt);
    return this.onTheWay;
  }

  /** What it was told of a move: it is in doubt no more. */
  endMove({ space, region, epoch }: MoveOfRegion, isTaken: boolean): Status {
    this.calls.push(`end ${space}/${region} ${epoch} ${isTaken ? 'taken' : 'kept'}`);
    if (isTaken) this.held.delete(regionKey(space, region));
    this.onTheWay = this.onTheWay.filter((one) => one.region !== region || one.space !== space);
    return Status.Ok;
  }

  /** By number of the region. Undefined: it does not answer. */
  bytesOf: ((region: number) => number) | undefined;

  sizes(): RegionsToGive['regions'] | undefined {
    const { bytesOf } = this;
    if (bytesOf === undefined) return undefined;
    return [...this.held.values()].map(({ space, region }) => {
      return { space, region, bytes: bytesOf(region) };
    });
  }

  /** Of slabs of devices. */
  copies: KnownCopy[] = [];

  drop(copies: readonly number[]): boolean {
    this.calls.push(`drop ${copies}`);
    this.copies = this.copies.filter(({ copy }) => !copies.includes(copy));
    return true;
  }

  remove(space: SpaceId): Status {
    const status = this.answer('remove');
    this.calls.push(`remove ${space}`);
    if (status === Status.Ok || this.executesAnyway) {
      for (const [key, grant] of this.held) if (grant.space === space) this.held.delete(key);
    }
    return status;
  }
}

export class FakeRack {
  readonly databases = new FakeDatabases();
  readonly nodes = new Map<string, FakeNode>();
  readonly failures: unknown[] = [];
  nowMs = 1_000;
  readonly clock: Clock = { now: () => this.nowMs, wall: () => this.nowMs };
  seed = 1;
  awayMs = 6_000;
  rebalancing: RebalancingPolicy | undefined;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();
  /** How far each move comes, when it is looked at; a refusal: it does not begin. */
  moving: number = MoveState.GONE;
  moveRefusal: { status: Status; reason: string } | undefined;
  /** A process before was asked, too, and has made the move before its reply arrived. */
  wasMoveMade = false;
  movesAsked = 0;
  mostMovesAtOnce = 0;
  #life = 0;
  readonly #moves = new Map<number, { from: string; order: MoveOutOrder }>();

  /** The controller that runs now does nothing more. */
  kill(): void {
    this.#life++;
  }

  /** Time passes, and what was to be done by then is done. Else no timer ever ends. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      await settled();
      const due = [...this.#timers].filter(({ atMs }) => atMs <= untilMs);
      const [first] = due.sort((a, b) => a.atMs - b.atMs);
      if (first === undefined) break;
      this.#timers.delete(first);
      this.nowMs = Math.max(this.nowMs, first.atMs);
      first.callback();
    }
    this.nowMs = untilMs;
  }

  node(address: string): FakeNode {
    let node = this.nodes.get(address);
    if (node === undefined) this.nodes.set(address, (node = new FakeNode(address)));
    return node;
  }

  async start(): Promise<Controller> {
    const life = ++this.#life;
    const isDead = (): boolean => this.#life !== life;
    this.databases.isDead = isDead;
    const entropy = new Prng(this.seed++);
    const { clock } = this;
    const { metadata } = await openMetadata({
      databases: this.databases,
      entropy,
      clock,
      folder: 'data',
      failed: (reason) => this.failures.push(reason),
    });
    const controller = new Controller({
      clock,
      timers: this.#timersUntil(isDead),
      entropy,
      metadata,
      calls: this.#callsOf(isDead),
      leaseCalls: NO_LEASES,
      policy: placementPolicy('best-free-of-two'),
      rebalancing: this.rebalancing,
      awayMs: this.awayMs,
    });
    await controller.resume();
    return controller;
  }

  /** As of machine `m`, if nothing else is said. */
  api(controller: Controller, options: Partial<LocalApiOptions> = {}): ControllerApi {
    const { clock } = this;
    const timers = this.#timersUntil(() => false);
    const address = (): string => 'tcp://127.0.0.1:7070';
    const common = { clock, timers, address, machine: 'm', isDurable: true };
    return localApi(controller, { ...common, ...options });
  }

  /** Nothing is done any more for one that is dead. */
  #timersUntil(isDead: () => boolean): Timers {
    return {
      after: (ms, callback) => {
        const timer = { atMs: this.nowMs + ms, callback: isDead() ? () => undefined : callback };
        this.#timers.add(timer);
        return { cancel: () => void this.#timers.delete(timer) };
      },
      soon: (callback) => void Promise.resolve().then(callback),
    };
  }

  /** What a node hears with each answer; of another branch of the database it keeps the later. */
  tell(controller: Controller, id: string): void {
    const node = this.node(this.joinRequest(id).address);
    const told = ownMark(controller.metadata);
    node.mark = laterMark(node.mark, told);
  }

  /** What a node of this address says when it joins. */
  joinRequest(id: string, options: Partial<NodeJoin> = {}): NodeJoin {
    const address = options.address ?? `tcp://10.0.0.1:${7100 + Number(id.replace(/\D/g, ''))}`;
    return {
      id,
      memoryId: 1_000 + Number(id.replace(/\D/g, '')),
      incarnation: 1,
      address,
      machine: 'm',
      pid: 1,
      keeper: 'm/1',
      process: 'm/2',
      pageBytes: 2 ** 21,
      bytesLent: GIB,
      mark: this.node(address).mark,
      kind: 0,
      openings: [],
      fileSystem: '',
      isTrusted: false,
      regions: [...this.node(address).held.values()],
      ...options,
    };
  }

  #moveOut(from: string, order: MoveOutOrder): Answer {
    this.movesAsked += 1;
    if (this.moveRefusal !== undefined) return this.moveRefusal;
    this.#moves.set(order.epoch, { from, order });
    const isThere = (one: { from: string; order: MoveOutOrder }): boolean =>
      this.node(one.from).held.has(regionKey(one.order.space, one.order.region));
    const underWay = [...this.#moves.values()].filter(isThere).length;
    this.mostMovesAtOnce = Math.max(this.mostMovesAtOnce, underWay);
    if (this.wasMoveMade) {
      this.#progress(from, order.epoch);
      return { status: Status.Stale, reason: 'it is not held here' };
    }
    return { status: Status.Ok, reason: '' };
  }

  /** Of source and target; a region that is gone is at the target. */
  #progress(at: string, epoch: number): MoveProgress | undefined {
    const move = this.#moves.get(epoch);
    const none = { why: 0, reason: '' };
    if (move === undefined) return { state: MoveState.NONE, ...none };
    const { order, from } = move;
    const key = regionKey(order.space, order.region);
    const grant = this.node(from).held.get(key);
    if (this.moving === MoveState.GONE && grant !== undefined) {
      this.node(from).held.delete(key);
      this.node(order.address).held.set(key, { ...grant, epoch: order.epoch });
    }
    const isHeld = at === order.address && this.moving === MoveState.GONE;
    return { state: isHeld ? MoveState.HELD : this.moving, ...none };
  }

  /** A node executes what reached it; a dead controller learns nothing of it. */
  #callsOf(isDead: () => boolean): NodeCalls {
    const call = async <T>(work: () => T): Promise<T> => {
      await Promise.resolve();
      if (isDead()) return NEVER;
      const result = work();
      await Promise.resolve();
      return isDead() ? NEVER : result;
    };
    return {
      grantRegion: ({ address }, grant) => call(() => this.node(address).grant(grant)),
      removeSpace: ({ address }, space) => call(() => this.node(address).remove(space)),
      heldRegions: ({ address }) => call(() => [...this.node(address).held.values()]),
      noteMark: ({ address }, mark) => {
        return call(() => {
          const node = this.node(address);
          if (!node.hearsMarks) return Status.Unavailable;
          node.mark = laterMark(node.mark, mark);
          return Status.Ok;
        });
      },
      moveOut: ({ address }, order) => call(() => this.#moveOut(address, order)),
      moveProgress: ({ address }, move) => call(() => this.#progress(address, move.epoch)),
      moveCancel: ({ address }, move) => call(() => this.#progress(address, move.epoch)),
      moveEnd: ({ address }, move, isTaken) => {
        return call(() => this.node(address).endMove(move, isTaken));
      },
      nodeMoves: ({ address }, stops) => call(() => this.node(address).moves(stops)),
      regionsToGive: ({ address }) => call(() => this.node(address).toGive()),
      regionSizes: ({ address }) => call(() => this.node(address).sizes()),
      copies: ({ address }) => call(() => ({ slabs: this.node(address).copies, more: 0 })),
      dropCopies: ({ address }, copies) => call(() => this.node(address).drop(copies)),
      forget: () => undefined,
      reconnect: () => undefined,
    };
  }
}

function laterMark(known: ControllerMark, told: ControllerMark): ControllerMark {
  const most = {
    life: Math.max(told.life, known.life),
    nextSpace: Math.max(told.nextSpace, known.nextSpace),
    nextEpoch: Math.max(told.nextEpoch, known.nextEpoch),
  };
  return told.commit > known.commit ? { ...told, ...most } : { ...known, ...most };
}

/** Nodes that never answer about leases. */
const NO_LEASES: LeaseCalls = {
  inspect: () => Promise.resolve({ failed: Status.Unavailable, reason: '' }),
  raise: () => Promise.resolve(Status.Unavailable),
  grant: () => Promise.resolve(Status.Unavailable),
  end: () => Promise.resolve(Status.Unavailable),
};

/** Lets everything that needs no time to pass come to its end. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 2_000; i++) await Promise.resolve();
}

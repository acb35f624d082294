/**
 * A device whose slabs are at nodes that are slow, paused, killed, lost, come back empty, fill up,
 * want memory back, and are drained; hosts that are killed, or stand still while others serve the
 * device; a controller that is away at times and whose answers are lost. Looked at is what a
 * program sees: for each sector the values that it may have. A write that was acknowledged leaves
 * one; one whose end is unknown adds one; a read shows one of them, and from then on it is that.
 */

import { expect, test } from 'vitest';
import { crc32c } from '../base/crc32c.js';
import { Status } from '../base/status.js';
import { type CompletionSink, NOT_NOW } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import { bestFreeOfTwo } from '../policies/placement/best-free-of-two.js';
import type { Copy } from '../replication/copy.js';
import { AREA_BYTES, PIECE_BYTES } from '../replication/layout.js';
import { fileFaults } from '../replication/planted.js';
import { seedThatShows } from '../replication/testing/planted-seed.js';
import {
  Broken,
  LendingNode,
  Path,
  type PathOwner,
  World,
} from '../replication/testing/slab-world.js';
import { CrashingDisk } from '../runtime/simulated/testing/crashing-disk.js';
import { BackupFile } from './backup/backup-file.js';
import { makeBackup } from './backup/backup-path.js';
import { Kept } from './backup/layout.js';
import { Device } from './device.js';
import { blockFaults } from './planted.js';
import {
  type CopyPlace,
  type DeviceRack,
  type DonorWish,
  isBackup,
  type SetAnswer,
  type SetRow,
  type SlabNode,
  type UseTold,
} from './ports.js';
import { planOf } from './slabs.js';
import { fillSector, SECTOR, valuesOf } from './testing/sectors.js';

/** Two areas each. */
const SLAB_BYTES = 2 * 263_000 + 4096;
const SLABS = 3;
const DATA_BYTES = planOf(1, SLAB_BYTES).layout.dataBytes;
const BYTES = SLABS * DATA_BYTES;
const NODES = 5;
const OPERATIONS = 200;
/** Of what a program changes. */
const TRIM_EVERY = 6;
const LEASE_MS = 5_000;
const PATH = '/backup';
const FILE = { device: 1, slabBytes: SLAB_BYTES };
/** Devices of greater seeds have backups. */
const BACKED_UP = 10_000;
/** Where sectors are that are used: around the borders of blocks, pieces, areas and slabs. */
const PLACES = [
  0,
  4096,
  PIECE_BYTES - 4096,
  2 * PIECE_BYTES,
  DATA_BYTES / 2 - 4096,
  DATA_BYTES / 2,
];
const SECTORS_EACH = 16;
const SECTORS = Array.from({ length: SLABS }, (_, slab) => slab * DATA_BYTES)
  .flatMap((base) => PLACES.map((place) => base + place))
  .concat(Array.from({ length: SLABS }, (_, slab) => (slab + 1) * DATA_BYTES - 8192))
  .flatMap((at) => Array.from({ length: SECTORS_EACH }, (_, i) => at / SECTOR + i));

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One machine, whatever memory it lends at the moment. */
class Machine {
  readonly id: string;
  node = new LendingNode();
  memoryId = 1;
  /** What the controller has not heard of: that this memory has gone. */
  unheardMemoryId = 0;
  isLeaving = false;
  /** Copies that it has room for. */
  room = 6;
  /** It wants these back, and maybe more. */
  wanted: ReadonlySet<number> | undefined;

  constructor(index: number) {
    this.id = `node-${index}`;
  }
}

/** A host with the lease, and its way to the rack. */
class Host implements PathOwner, DeviceRack {
  readonly rig: Rig;
  readonly world: World;
  readonly epoch: number;
  isAlive = true;
  pausedUntilMs = 0;
  readonly home: Home;
  device: Device | undefined;
  backup: BackupFile | undefined;

  constructor(rig: Rig, epoch: number, home: Home) {
    this.rig = rig;
    this.home = home;
    this.world = rig.world;
    this.epoch = epoch;
  }

  whenAwake(run: () => void): void {
    const { world } = this;
    if (!this.isAlive) return;
    if (world.nowMs < this.pausedUntilMs) world.at(this.pausedUntilMs, () => this.whenAwake(run));
    else run();
  }

  async begin(rows: readonly SetRow[], copies: number): Promise<void> {
    const { world, rig } = this;
    const timers = {
      after: (ms: number, run: () => void) => world.after(ms, () => this.whenAwake(run)),
      soon: (run: () => void) => world.soon(() => this.whenAwake(run)),
    };
    const entropy = {
      u32: () => world.prng.u32(),
      u53: () => 1 + world.prng.u32(),
      fraction: () => world.prng.fraction(),
    };
    const checksum = { crc32c };
    if (rig.isBackedUp && this.home.lock(this)) {
      const disk = this.home.disk.of(this);
      const parts = { disk, checksum, ...FILE, path: PATH, clock: world, timers };
      const bufferBytes = 64 * 4096;
      const failed = (): void => undefined;
      const file = await BackupFile.open({ ...parts, bufferBytes, failed });
      if (typeof file !== 'string') this.backup = file;
    }
    const { backup } = this;
    this.device = new Device({
      ...{ rows, rack: this, clock: world, timers, entropy, checksum, backup },
      facts: { bytes: BYTES, slabBytes: SLAB_BYTES, copies, isBackedUp: rig.isBackedUp },
      policy: bestFreeOfTwo,
      patienceMs: 4_000,
      paced: async (_bytes, work) => {
        await world.sleep(world.prng.fraction() * 300);
        return work();
      },
    });
  }

  /** Killed, maybe with its machine. */
  end(): void {
    this.device?.stop();
    this.isAlive = false;
    this.#unlock();
  }

  #unlock(): void {
    if (this.home.disk.isIdle(this)) this.home.unlock(this);
    else this.world.after(1, () => this.#unlock());
  }

  /** In order: while it has the lease. */
  async finish(): Promise<void> {
    await this.device?.finish(1_000);
    await this.#close();
  }

  /** It has found out that it is over. */
  async #close(): Promise<void> {
    this.device?.stop();
    await this.backup?.end();
    this.home.unlock(this);
  }

  /** A call to somebody, which takes a while each way; what it gives is lost at times. */
  async #call<T>(ask: () => T, lost: T, mayBeLost = 60_000): Promise<T> {
    const { world } = this;
    const { prng } = world;
    await world.sleep(prng.fraction() * prng.pick([1, 8, 60]));
    if (prng.chance(mayBeLost)) return this.#awake(lost);
    const answer = ask();
    await world.sleep(prng.fraction() * 8);
    return this.#awake(prng.chance(mayBeLost) ? lost : answer);
  }

  #awake<T>(value: T): Promise<T> {
    return new Promise((resolve) => this.whenAwake(() => resolve(value)));
  }

  nodes(): Promise<readonly SlabNode[] | undefined> {
    const { rig } = this;
    return this.#call(() => (rig.isControllerAway ? undefined : rig.nodeList()), undefined);
  }

  take(node: string, slab: number, copy: number): Promise<CopyPlace | Status> {
    const { rig } = this;
    return this.#call<CopyPlace | Status>(() => {
      const machine = rig.machine(node);
      if (machine === undefined || !rig.isWell(machine.node)) return Status.Unavailable;
      if (machine.node.epoch !== this.epoch) return Status.Stale;
      const isShort = machine.wanted !== undefined || machine.node.fullBelow > 0;
      if (isShort || machine.node.copies.size >= machine.room) return Status.NoSpace;
      machine.node.copies.set(copy, new Uint8Array(SLAB_BYTES));
      rig.slabOf.set(copy, slab);
      return { copy, node, memoryId: machine.memoryId, space: 1, address: copy };
    }, Status.OutcomeUnknown);
  }

  give({ copy, node, memoryId }: CopyPlace): void {
    const { rig } = this;
    void this.#call(() => {
      const machine = rig.machine(node);
      if (machine?.memoryId !== memoryId || machine.node.epoch !== this.epoch) return;
      const isNamed = [...rig.rows.values()].some((row) =>
        row.copies.some((one) => one.copy === copy),
      );
      if (isNamed) throw new Broken('a copy that a row names was given back');
      machine.node.copies.delete(copy);
      if (machine.wanted?.has(copy) === true) rig.evicted += 1;
    }, undefined);
  }

  async putSet(row: SetRow): Promise<SetAnswer> {
    const { rig } = this;
    rig.wishes.add(row);
    const answer = await this.#call<SetAnswer>(
      () => {
        rig.wishes.delete(row);
        if (rig.isControllerAway) return { status: Status.Unavailable };
        return rig.putSet(this.epoch, row);
      },
      { status: Status.OutcomeUnknown },
      150_000,
    );
    rig.wishes.delete(row);
    return answer;
  }

  tellUse(node: string, memoryId: number, told: UseTold): Promise<DonorWish | undefined> {
    const { rig } = this;
    const { prng } = rig.world;
    return this.#call(() => {
      const machine = rig.machine(node);
      if (machine?.memoryId !== memoryId || !rig.isWell(machine.node)) return undefined;
      if (machine.node.epoch !== this.epoch) return undefined;
      for (const { copy } of told.slabs) {
        if (!rig.slabOf.has(copy)) throw new Broken('of a copy is told that was never taken');
      }
      const { wanted } = machine;
      const asked = [...machine.node.copies.keys()].filter(() => prng.chance(300_000));
      // Also what is not there any more, or was never in a set.
      const going = [...(wanted ?? [])].filter(() => prng.chance(900_000));
      return { round: prng.u32(), isShort: wanted !== undefined, asked, going };
    }, undefined);
  }

  confirm(): Promise<boolean> {
    const { rig } = this;
    const machine = rig.world.prng.pick(rig.machines);
    return this.#call(() => rig.isWell(machine.node) && machine.node.epoch === this.epoch, false);
  }

  copyAt({ copy, node, memoryId }: CopyPlace): Copy {
    const machine = this.rig.machine(node);
    // Of memory that is gone nobody answers.
    const there = machine?.memoryId === memoryId ? machine.node : goneNode();
    return new Path(copy, there, this);
  }

  leaveUnused(): void {
    // Nothing is held up here.
  }

  lose(): void {
    void this.#close();
  }
}

function goneNode(): LendingNode {
  const node = new LendingNode();
  node.isLost = true;
  return node;
}

function noNumber(): number {
  throw new Error('nobody needs this');
}

/** Where hosts run: one at a time has the file. */
class Home {
  readonly disk = new CrashingDisk();
  #user: Host | undefined;

  /** With the device. */
  async make(world: World): Promise<void> {
    const disk = this.disk.of({ world, whenAwake: (run) => run() });
    const entropy = { u53: () => 1 + world.prng.u32(), u32: noNumber, fraction: noNumber };
    await makeBackup({ disk, checksum: { crc32c }, entropy }, PATH, FILE);
  }

  lock(host: Host): boolean {
    if (this.#user !== undefined) return false;
    this.#user = host;
    return true;
  }

  unlock(host: Host): void {
    if (this.#user === host) this.#user = undefined;
  }

  /** Whoever has the file ends with the machine. */
  crash(host: Host): void {
    this.disk.crash(host);
    this.#user?.end();
    this.#user = undefined;
  }
}

class Rig {
  readonly world: World;
  readonly homes = [new Home(), new Home()];
  readonly isBackedUp: boolean;
  /** All copies of a slab in memory were lost. */
  isAllLost = false;
  /** And its host after that. */
  mayBeLost = false;
  flushed = 0;
  sole = 0;
  spared = 0;
  readonly machines = Array.from({ length: NODES }, (_, i) => new Machine(i));
  readonly rows = new Map<number, SetRow>();
  /** Rows that are on their way to the controller. */
  readonly wishes = new Set<SetRow>();
  readonly slabOf = new Map<number, number>();
  readonly copies: number;
  epoch = 0;
  isControllerAway = false;
  host!: Host;
  /** The one before, which may not know that it is over. */
  formerHost: Host | undefined;
  isOpening = false;
  /** When the last host began. */
  openedMs = 0;
  /** By sector: what it may hold; 0 is zeros. */
  readonly may = new Map<number, Set<number>>(SECTORS.map((sector) => [sector, new Set([0])]));
  /** What a sector has held, or may have, since the last flush. */
  readonly since = new Map<number, Set<number>>(SECTORS.map((sector) => [sector, new Set([0])]));
  /** Sectors that may hold that again: in a file alone at a crash, and not looked at since. */
  readonly goneBack = new Set<number>();
  /** What was written, or began to be: sectors and values. */
  readonly written: [sector: number, value: number][] = [];
  readonly lastWritten = new Map<number, number>();
  /** Sectors of writes that were told as done when another host had taken over. */
  late = 0;
  wentBack = 0;
  readonly busy = new Set<number>();
  value = 0;
  acknowledged = 0;
  trimmed = 0;
  unknown = 0;
  read = 0;
  made = 0;
  generations = 0;
  evicted = 0;

  constructor(seed: number) {
    this.world = new World(seed, turn);
    this.copies = this.world.prng.between(1, 3);
    this.isBackedUp = seed > BACKED_UP;
  }

  machine(id: string): Machine | undefined {
    return this.machines.find((one) => one.id === id);
  }

  isWell(node: LendingNode): boolean {
    return !node.isLost && this.world.nowMs >= node.pausedUntilMs;
  }

  nodeList(): SlabNode[] {
    return this.machines.map(({ id, memoryId, node, isLeaving, room, wanted }) => ({
      ...{ id, memoryId, isLeaving, isServing: this.isWell(node), machine: id },
      bytesLent: room * SLAB_BYTES,
      bytesFree: wanted === undefined ? (room - node.copies.size) * SLAB_BYTES : 0,
      bytesCommitted: node.copies.size * SLAB_BYTES,
    }));
  }

  /** As the controller does it. */
  putSet(epoch: number, wish: SetRow): SetAnswer {
    if (epoch !== this.epoch) return { status: Status.Stale };
    const row = this.rows.get(wish.slab);
    const isThere = row?.generation === wish.generation && sameCopies(row, wish);
    if (isThere) return { status: Status.Ok };
    if ((row?.generation ?? 0) !== wish.generation - 1) return { status: Status.Conflict, row };
    const isServed = wish.copies.some((place) => {
      const { node, memoryId } = place;
      const machine = this.machine(node);
      if (machine?.unheardMemoryId === memoryId) return true;
      return isBackup(place) || (machine?.memoryId === memoryId && this.isWell(machine.node));
    });
    if (!isServed) return { status: Status.Unavailable };
    const keepsOne = wish.copies.some(({ copy }) => row?.copies.some((one) => one.copy === copy));
    const remote = wish.copies.filter((place) => !isBackup(place));
    if (remote.length === 0) this.sole += 1;
    if (this.#isSpared(row, remote)) this.spared += 1;
    if (remote.length > 3 || (row !== undefined && !keepsOne)) throw new Error('a wrong set');
    this.generations += 1;
    this.rows.set(wish.slab, wish);
    return { status: Status.Ok };
  }

  /** A copy leaves that is well, and none takes its place. */
  #isSpared(row: SetRow | undefined, remote: readonly CopyPlace[]): boolean {
    const before = (row?.copies ?? []).filter((place) => !isBackup(place));
    if (remote.length >= Math.min(before.length, this.copies)) return false;
    return before.some(({ node, memoryId, copy }) => {
      const machine = this.machine(node);
      const isWell = machine?.memoryId === memoryId && this.isWell(machine.node);
      return isWell && remote.every((place) => place.copy !== copy);
    });
  }

  /** Takes the lease over and serves the device. */
  async open(at = this.isBackedUp && this.world.prng.chance(300_000) ? 1 : 0): Promise<void> {
    if (this.isOpening) return;
    this.isOpening = true;
    const { world } = this;
    this.mayBeLost ||= this.isAllLost;
    this.epoch += 1;
    const { epoch } = this;
    for (const machine of this.machines) {
      while (!machine.node.isLost && world.nowMs < machine.node.pausedUntilMs) await world.sleep(5);
      machine.node.epoch = epoch;
    }
    const before = this.host as Host | undefined;
    // By its clock, where nobody tells it that it is over.
    if (this.isBackedUp) world.after(LEASE_MS, () => before?.isAlive && before.lose());
    this.formerHost = before;
    this.host = new Host(this, epoch, this.homes[at] as Home);
    await this.host.begin([...this.rows.values()], this.copies);
    this.openedMs = world.nowMs;
    this.isOpening = false;
  }

  /** The machine of their file stops: what was not flushed may be gone. */
  goBack(slabs: ReadonlySet<number>): void {
    for (const sector of SECTORS) {
      if (slabs.has(Math.floor((sector * SECTOR) / DATA_BYTES))) this.goneBack.add(sector);
    }
  }

  /** Slabs that are in the file alone. */
  get soleSlabs(): Set<number> {
    const sole = [...this.rows.values()].filter(({ copies }) => copies.every(isBackup));
    return new Set(sole.map(({ slab }) => slab));
  }

  /** It is to hold this value, or did until it was told that it does not. */
  noteWritten(sector: number, value: number): void {
    this.written.push([sector, value]);
    this.lastWritten.set(sector, value);
    this.since.get(sector)?.add(value);
  }

  /** Machines whose memory may go: every slab keeps a copy elsewhere, or in a file. */
  mayLose(machine: Machine): boolean {
    // Who has no file leaves that of another host for the copy.
    const rows = [...this.rows.values(), ...this.wishes];
    if (this.isBackedUp && rows.every((row) => row.copies.some(isBackup))) {
      this.isAllLost = true;
      // The file may be behind still.
      if (this.world.nowMs < this.openedMs + LEASE_MS) this.mayBeLost = true;
      return true;
    }
    // One that is asked for next, and may be the only one of its slab.
    const isFirst = (copy: number): boolean => !this.rows.has(this.slabOf.get(copy) ?? 0);
    if ([...machine.node.copies.keys()].some(isFirst)) return false;
    return [...this.rows.values(), ...this.wishes].every(({ copies }) => {
      const there = copies.filter(({ node, memoryId }) => {
        const one = this.machine(node);
        return one?.memoryId === memoryId && !one.node.isLost;
      });
      return there.some(({ node }) => node !== machine.id);
    });
  }
}

function sameCopies(one: SetRow, other: SetRow): boolean {
  const ids = (row: SetRow): string =>
    row.copies
      .map(({ copy }) => copy)
      .sort()
      .join();
  return ids(one) === ids(other);
}

/** Sectors that follow each other, and that nobody else uses. */
function pickSectors(rig: Rig): number[] {
  const { prng } = rig.world;
  const first = prng.pick(SECTORS);
  const from = prng.chance(500_000) ? first : first - (first % 8);
  const most = prng.pick([1, 2, 8, 16]);
  const sectors: number[] = [];
  for (let sector = from; sector < from + most; sector++) {
    const isNext = sector === from || (sector * SECTOR) % PIECE_BYTES !== 0;
    if (!rig.may.has(sector) || rig.busy.has(sector) || !isNext) break;
    sectors.push(sector);
  }
  // Of the next slab: pieces are counted from the beginning of the slab.
  return sectors.filter((one) => slabOf(one) === slabOf(from) && pieceOf(one) === pieceOf(from));
}

const slabOf = (sector: number): number => Math.floor((sector * SECTOR) / DATA_BYTES);
const pieceOf = (sector: number): number => Math.floor((sector * SECTOR) / PIECE_BYTES);

function operation(rig: Rig): void {
  const { prng } = rig.world;
  const isRead = prng.chance(450_000);
  const isFormer = rig.formerHost?.isAlive === true && prng.chance(200_000);
  const host = isFormer ? (rig.formerHost as Host) : rig.host;
  const { device } = host;
  const hosts = rig.epoch;
  const sectors = pickSectors(rig);
  const [first] = sectors;
  if (first === undefined || device === undefined) return;
  for (const sector of sectors) rig.busy.add(sector);
  const buffer = new Uint8Array(sectors.length * SECTOR);
  const isNow = prng.chance(500_000) && rig.world.nowMs >= host.pausedUntilMs;
  const guarded = (completed: (status: Status) => void): CompletionSink => ({
    completed: (_token, status) => {
      if (!host.isAlive) return;
      if (rig.epoch !== hosts) {
        if (!isRead && status === Status.Ok) noteLate(rig, sectors, value);
        return;
      }
      for (const sector of sectors) rig.busy.delete(sector);
      completed(status);
    },
  });
  const value = rig.value + 1;
  if (!isRead) {
    rig.value = value;
    if (rig.value % TRIM_EVERY === 0) {
      for (const sector of sectors) rig.busy.delete(sector);
      trim(rig, host, first);
      return;
    }
    sectors.forEach((sector, i) => fillSector(buffer, i * SECTOR, value, sector));
    const before = sectors.map((sector) => rig.may.get(sector) as Set<number>);
    // A host that is killed tells nobody.
    sectors.forEach((sector, i) => rig.may.set(sector, new Set([...(before[i] ?? []), value])));
    for (const sector of sectors) rig.noteWritten(sector, value);
    const sink = guarded((status) => {
      if (status === Status.Ok) {
        rig.acknowledged += 1;
        for (const sector of sectors) rig.goneBack.delete(sector);
        for (const sector of sectors) rig.may.set(sector, new Set([value]));
      } else if (outcomeOf(status) === 'notApplied') {
        sectors.forEach((sector, i) => rig.may.set(sector, before[i] as Set<number>));
      } else rig.unknown += 1;
    });
    const now = isNow ? device.writeNow(first * SECTOR, buffer, 0, buffer.length) : NOT_NOW;
    if (now === NOT_NOW) device.write(first * SECTOR, buffer, 0, buffer.length, sink, 0);
    else sink.completed(0, now as Status, outcomeOf(now), 0, 0);
    return;
  }
  const sink = guarded((status) => {
    if (status === Status.Ok) look(rig, sectors, buffer);
    else judgeFailure(rig, status, first);
  });
  const now = isNow ? device.readNow(first * SECTOR, buffer, 0, buffer.length) : NOT_NOW;
  if (now === NOT_NOW) device.read(first * SECTOR, buffer, 0, buffer.length, sink, 0);
  else sink.completed(0, now as Status, outcomeOf(now), 0, 0);
}

/** Told as done when another host had taken over: whatever that has shown, it was there before. */
function noteLate(rig: Rig, sectors: readonly number[], value: number): void {
  for (const sector of sectors) {
    if (rig.lastWritten.get(sector) !== value || rig.goneBack.has(sector)) continue;
    if (rig.may.get(sector)?.has(value) !== true) {
      throw new Broken(`sector ${sector} was not ${value}, which is told as written there`);
    }
    rig.late += 1;
    rig.may.set(sector, new Set([value]));
  }
}

/** A block, or all of its piece: what is there is zeros then. */
function trim(rig: Rig, host: Host, sector: number): void {
  const bytes = rig.value % (2 * TRIM_EVERY) === 0 ? PIECE_BYTES : 4096;
  const at = sector * SECTOR;
  const inSlab = at % DATA_BYTES;
  const offset = at - (inSlab % bytes);
  const sectors = Array.from({ length: bytes / SECTOR }, (_, i) => offset / SECTOR + i).filter(
    (one) => rig.may.has(one),
  );
  if (sectors.some((one) => rig.busy.has(one))) return;
  const hosts = rig.epoch;
  const before = sectors.map((one) => rig.may.get(one) as Set<number>);
  sectors.forEach((one, i) => {
    rig.busy.add(one);
    rig.may.set(one, new Set([...(before[i] ?? []), 0]));
    rig.noteWritten(one, 0);
  });
  const completed = (_token: number, status: Status): void => {
    if (!host.isAlive || rig.epoch !== hosts) return;
    for (const one of sectors) rig.busy.delete(one);
    if (status === Status.Ok) {
      rig.trimmed += 1;
      for (const one of sectors) rig.goneBack.delete(one);
      for (const one of sectors) rig.may.set(one, new Set([0]));
    } else if (outcomeOf(status) === 'notApplied') {
      sectors.forEach((one, i) => rig.may.set(one, before[i] as Set<number>));
    } else rig.unknown += 1;
  };
  host.device?.trim(offset, bytes, { completed }, 0);
}

function look(rig: Rig, sectors: readonly number[], buffer: Uint8Array): void {
  rig.read += 1;
  sectors.forEach((sector, i) => {
    const values = valuesOf(buffer, i * SECTOR, sector);
    const may = rig.may.get(sector) as Set<number>;
    const isBack =
      rig.goneBack.has(sector) && !(values.length === 1 && values.every((one) => may.has(one)));
    if (isBack) rig.wentBack += 1;
    const allowed = isBack ? new Set([...may, ...(rig.since.get(sector) ?? [])]) : may;
    if (!values.every((one) => allowed.has(one)) || (values.length > 1 && !isBack)) {
      throw new Broken(`sector ${sector} shows ${values.join()}, not ${[...allowed].join(', ')}`);
    }
    // One that is torn may be anything of that until it is written to.
    if (values.length > 1) return;
    rig.goneBack.delete(sector);
    rig.may.set(sector, new Set(values));
  });
}

function judgeFailure(rig: Rig, status: Status, sector: number): void {
  if (status === Status.Corrupt) throw new Broken(`sector ${sector} is said to be corrupt`);
  if (status === Status.DataLost && !rig.mayBeLost)
    throw new Broken(`sector ${sector} is said to be lost`);
}

function fault(rig: Rig): void {
  const { world } = rig;
  const { prng } = world;
  const machine = prng.pick(rig.machines);
  const { node } = machine;
  const kind = prng.below(100);
  if (kind < 18) {
    const untilMs = world.nowMs + prng.pick([20, 200, 800, 2_500]);
    node.pausedUntilMs = Math.max(node.pausedUntilMs, untilMs);
  } else if (kind < 22) fillUp(rig, machine);
  else if (kind < 36) node.life += 1;
  else if (kind < 48) lose(rig, machine);
  else if (kind < 58) {
    machine.isLeaving = !machine.isLeaving && rig.machines.every((one) => !one.isLeaving);
  } else if (kind < 70) wantBack(rig);
  else if (kind < 75) {
    rig.isControllerAway = true;
    world.after(prng.pick([100, 1_000, 4_000]), () => (rig.isControllerAway = false));
    if (prng.chance(500_000)) loseWhileLeaving(rig);
  } else if (kind < 79 && rig.isBackedUp) troubleDisk(rig);
  else if (kind < 81 && rig.isBackedUp) void handOver(rig);
  else if (kind < 86) rig.host.pausedUntilMs = world.nowMs + prng.pick([50, 500, 3_000]);
  else succeed(rig);
}

/** No frame is left for what was never written there. */
function fillUp(rig: Rig, machine: Machine): void {
  const { world } = rig;
  machine.node.fullBelow = DATA_BYTES;
  world.after(world.prng.pick([500, 3_000, 20_000]), () => (machine.node.fullBelow = 0));
}

/** One copy of a slab stands still for so long that it is left, and then the memory of one goes. */
function loseWhileLeaving(rig: Rig): void {
  const { world } = rig;
  const rows = [...rig.rows.values()]
    .map(({ copies }) => copies.filter((place) => !isBackup(place)))
    .filter((copies) => copies.length > 1);
  if (rows.length === 0) return;
  const [one, other] = world.prng.pick(rows).map(({ node }) => rig.machine(node) as Machine) as [
    Machine,
    Machine,
  ];
  rig.isControllerAway = true;
  world.after(4_000, () => (rig.isControllerAway = false));
  one.node.pausedUntilMs = Math.max(one.node.pausedUntilMs, world.nowMs + 5_000);
  world.after(1_000 + world.prng.fraction() * 3_000, () => lose(rig, other));
}

function troubleDisk(rig: Rig): void {
  const { world } = rig;
  const { disk } = rig.host.home;
  if (world.prng.chance(300_000)) {
    disk.hangs = true;
    world.after(world.prng.pick([3_000, 15_000, 40_000]), () => (disk.hangs = false));
    return;
  }
  disk.isFull = world.prng.chance(500_000);
  if (!disk.isFull && !rig.isAllLost) disk.flushesFail = 30_000;
  world.after(world.prng.pick([100, 3_000]), () => {
    disk.isFull = false;
    disk.flushesFail = 0;
  });
}

/** Some copies are to go, of one machine or of all, until there is enough memory again. */
function wantBack(rig: Rig): void {
  const { world } = rig;
  const lending = rig.machines.filter(({ node }) => node.copies.size > 0);
  if (lending.length === 0) return;
  const areAllShort = rig.isBackedUp && world.prng.chance(500_000);
  const untilMs = world.prng.pick([2_000, 8_000, 30_000]);
  for (const machine of areAllShort ? rig.machines : [world.prng.pick(lending)]) {
    machine.wanted = new Set(
      [...machine.node.copies.keys()].filter(() => world.prng.chance(600_000)),
    );
    world.after(untilMs, () => (machine.wanted = undefined));
  }
}

/** For a while; it comes back with other memory. */
function lose(rig: Rig, machine: Machine): void {
  // It would lose what it comes back with, too.
  if (machine.node.isLost) return;
  const isOneAway = rig.machines.some(({ node }) => node.isLost);
  const mayMoreGo = rig.isBackedUp && rig.world.prng.chance(700_000);
  if ((isOneAway && !mayMoreGo) || !rig.mayLose(machine)) return;
  machine.node.isLost = true;
  machine.unheardMemoryId = machine.memoryId;
  rig.world.after(rig.world.prng.pick([0, 1_000, 3_000]), () => (machine.unheardMemoryId = 0));
  const { epoch } = machine.node;
  rig.world.after(rig.world.prng.pick([300, 2_000, 6_000]), () => {
    machine.node = new LendingNode();
    machine.node.epoch = Math.max(epoch, rig.epoch);
    machine.memoryId += 1;
  });
}

/** The host is killed, or another one comes while it stands still. */
function succeed(rig: Rig): void {
  if (rig.isOpening) return;
  if (rig.world.prng.chance(500_000)) {
    rig.host.end();
    if (rig.isBackedUp && rig.world.prng.chance(500_000)) crash(rig);
  }
  rig.busy.clear();
  void rig.open();
}

/** The machine of the host, with the file. */
function crash(rig: Rig): void {
  const { host } = rig;
  rig.goBack(rig.soleSlabs);
  host.home.crash(host);
}

/** Soon after a flush of what is in the file alone. */
function crashSoon(rig: Rig): void {
  const { host, world } = rig;
  world.after(world.prng.fraction() * 20, () => {
    if (rig.isOpening || rig.host !== host || !host.isAlive) return;
    host.end();
    crash(rig);
    rig.busy.clear();
    void rig.open();
  });
}

/** The host ends in order, and another one comes, or the same again. */
async function handOver(rig: Rig): Promise<void> {
  if (rig.isOpening) return;
  rig.isOpening = true;
  await rig.host.finish();
  rig.isOpening = false;
  rig.busy.clear();
  await rig.open();
}

async function run(seed: number): Promise<Rig> {
  const rig = new Rig(seed);
  const { world } = rig;
  const { prng } = world;
  let isOver = false;
  const work = async (): Promise<void> => {
    if (rig.isBackedUp) for (const home of rig.homes) await home.make(world);
    await rig.open();
    for (let i = 0; i < OPERATIONS; i++) {
      if (rig.host.device?.isOver === true && !rig.isOpening) {
        rig.busy.clear();
        await rig.open();
      }
      if (!rig.isOpening) operation(rig);
      if (rig.isBackedUp && prng.chance(20_000)) void flush(rig);
      if (prng.chance(60_000)) fault(rig);
      await world.sleep(prng.pick([0.1, 1, 5, 20, 300]));
    }
    for (const machine of rig.machines) {
      machine.isLeaving = false;
      machine.node.fullBelow = 0;
    }
    await world.sleep(20_000);
    for (const { disk } of rig.homes) disk.hangs = false;
    rig.isControllerAway = false;
    while (rig.isOpening) await world.sleep(10);
    if (rig.isBackedUp) await serveAll(rig);
    if (rig.host.device?.isOver !== false) await rig.open();
    for (const sector of SECTORS) await readAtLast(rig, sector);
    await world.sleep(20_000);
    await judgeEnd(rig);
    isOver = true;
  };
  const failures: unknown[] = [];
  const note = (error: unknown): void => void failures.push(error);
  process.on('unhandledRejection', note);
  void work().catch(note);
  try {
    const isDone = await world.run(() => isOver || failures.length > 0, 900_000);
    if (failures.length > 0) throw failures[0];
    if (!isDone) throw new Broken('it came to no end');
  } finally {
    process.off('unhandledRejection', note);
    rig.host.end();
  }
  return rig;
}

async function flush(rig: Rig): Promise<void> {
  const before = [...rig.may].map(([sector, may]) => [sector, new Set(may)] as const);
  const { length } = rig.written;
  if ((await rig.host.device?.flush()) !== Status.Ok) return;
  rig.flushed += 1;
  if (rig.soleSlabs.size > 0 && rig.world.prng.chance(300_000)) crashSoon(rig);
  for (const [sector, may] of before) rig.since.set(sector, may);
  for (const [sector, value] of rig.written.slice(length)) rig.since.get(sector)?.add(value);
}

async function readAtLast(rig: Rig, sector: number): Promise<void> {
  for (;;) {
    const buffer = new Uint8Array(SECTOR);
    const status = await new Promise<Status>((resolve) => {
      const sink = { completed: (_token: number, end: Status) => resolve(end) };
      rig.host.device?.read(sector * SECTOR, buffer, 0, SECTOR, sink, 0);
    });
    judgeFailure(rig, status, sector);
    if (status === Status.Ok) return look(rig, [sector], buffer);
    if (status === Status.DataLost) return;
    if (status === Status.Stale) await rig.open();
  }
}

/** What is in the file of one host alone is made whole where that is. */
async function serveAll(rig: Rig): Promise<void> {
  const { world } = rig;
  for (const at of [1, 0]) {
    rig.host.lose();
    await world.sleep(2 * LEASE_MS);
    await rig.open(at);
    await world.sleep(20_000);
  }
}

/** In the end every slab has its copies, apart from each other, and all of them are equal. */
async function judgeEnd(rig: Rig): Promise<void> {
  rig.made += rig.host.device?.counts.copiesMade ?? 0;
  const states = rig.host.device?.states();
  if (states?.degraded !== 0 || states.lost !== 0) {
    throw new Broken(`in the end slabs are not whole: ${JSON.stringify(states)}`);
  }
  for (const [slab, { copies }] of rig.rows) {
    if (new Set(copies.map(({ node }) => node)).size !== copies.length) {
      throw new Broken(`slab ${slab} has two copies at one node`);
    }
    const remote = copies.filter((place) => !isBackup(place));
    if (remote.length !== rig.copies) throw new Broken(`slab ${slab}: ${remote.length} copies`);
    if (remote.length < copies.length) await judgeFile(rig, slab, remote);
    const [first, ...others] = remote.map(({ node, copy }) => {
      const memory = rig.machine(node)?.node.copies.get(copy);
      if (memory === undefined) throw new Broken(`slab ${slab}: a copy is not where it should be`);
      return memory.subarray(0, DATA_BYTES);
    });
    if (others.some((one) => !Buffer.from(one).equals(first as Uint8Array))) {
      throw new Broken(`slab ${slab} is not the same at all copies`);
    }
  }
}

/** What it says to be right is what the copies have. */
async function judgeFile(rig: Rig, slab: number, [place]: readonly CopyPlace[]): Promise<void> {
  const file = rig.host.backup?.slab(slab);
  const memory = rig.machine(place?.node ?? '')?.node.copies.get(place?.copy ?? 0);
  if (file === undefined || memory === undefined) throw new Broken(`slab ${slab}: no copy`);
  const bytes = new Uint8Array(DATA_BYTES);
  const sink = (resolve: (status: Status) => void) => ({
    completed: (_token: number, status: Status) => resolve(status),
  });
  await new Promise<Status>((resolve) => file.read(0, bytes, 0, DATA_BYTES, sink(resolve), 0));
  for (let at = 0; at < DATA_BYTES; at += AREA_BYTES) {
    if (file.state(at / AREA_BYTES) === Kept.LOST) continue;
    if (file.state(at / AREA_BYTES) === Kept.DIRTY) throw new Broken(`slab ${slab} is not clean`);
    const isEqual = Buffer.from(bytes.subarray(at, at + AREA_BYTES)).equals(
      memory.subarray(at, at + AREA_BYTES),
    );
    if (!isEqual) throw new Broken(`slab ${slab}: the file is not as the copies are`);
  }
}

const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);
const FIRST_SEEDS: Partial<Record<keyof typeof blockFaults, number>> = {
  takenUnasked: 15,
  askedBlindly: 355,
  zerosUnconfirmed: 150,
};
const FIRST_FILE_SEEDS: Partial<Record<keyof typeof fileFaults, number>> = {
  fileUnconfirmed: 85,
  flushNotWaited: 380,
};
const SEEDS_PER_BUG = 200;
const SEEDS = Number(process.env['MEMRACK_FUZZ'] ?? 10);

test('what a program wrote to a device is there', { timeout: 900_000 }, async () => {
  const sums = {
    acknowledged: 0,
    trimmed: 0,
    unknown: 0,
    read: 0,
    made: 0,
    evicted: 0,
    generations: 0,
    hosts: 0,
  };
  const ofFiles = { late: 0, flushed: 0, sole: 0, spared: 0, lost: 0, wentBack: 0 };
  for (let i = 0; i < SEEDS; i++) {
    const seed = i % 2 === 0 ? SEED + i : SEED + i + BACKED_UP;
    const rig = await run(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
    });
    sums.acknowledged += rig.acknowledged;
    sums.trimmed += rig.trimmed;
    sums.unknown += rig.unknown;
    sums.read += rig.read;
    sums.made += rig.made;
    sums.evicted += rig.evicted;
    sums.generations += rig.generations;
    sums.hosts += rig.epoch;
    ofFiles.late += rig.late;
    ofFiles.flushed += rig.flushed;
    ofFiles.sole += rig.sole;
    ofFiles.spared += rig.spared;
    ofFiles.wentBack += rig.wentBack;
    ofFiles.lost += rig.mayBeLost ? 1 : 0;
  }
  process.stdout.write(`${SEEDS} seeds: ${JSON.stringify({ ...sums, ...ofFiles })}\n`);
  expect(sums.acknowledged).toBeGreaterThan(10 * SEEDS);
});

const { wishKept: _elsewhere, restKept: _inTheRack, ...PLANTED } = blockFaults;

test.each(Object.keys(PLANTED) as (keyof typeof PLANTED)[])(
  '%s is found',
  { timeout: 900_000 },
  async (bug) => {
    blockFaults[bug] = true;
    try {
      const found = await seedThatShows(run, FIRST_SEEDS[bug] ?? 1, SEEDS_PER_BUG);
      process.stdout.write(`${bug}: seed ${found}\n`);
      expect(found).toBeGreaterThan(0);
    } finally {
      blockFaults[bug] = false;
    }
  },
);

test.each(Object.keys(fileFaults) as (keyof typeof fileFaults)[])(
  '%s is found',
  { timeout: 900_000 },
  async (bug) => {
    fileFaults[bug] = true;
    try {
      const found = await seedThatShows(
        run,
        BACKED_UP + (FIRST_FILE_SEEDS[bug] ?? 1),
        SEEDS_PER_BUG,
      );
      process.stdout.write(`${bug}: seed ${found}\n`);
      expect(found).toBeGreaterThan(0);
    } finally {
      fileFaults[bug] = false;
    }
  },
);

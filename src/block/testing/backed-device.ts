/** A device with a backup in time of its own: nodes that lend, a disk, the rows of a rack. */

import { crc32c } from '../../base/crc32c.js';
import { Status } from '../../base/status.js';
import { bestFreeOfTwo } from '../../policies/placement/best-free-of-two.js';
import type { Copy } from '../../replication/copy.js';
import { LendingNode, Path, World } from '../../replication/testing/slab-world.js';
import type { Disk } from '../../runtime/disk.js';
import { BackupFile } from '../backup/backup-file.js';
import { makeBackup } from '../backup/backup-path.js';
import type { Unwritten } from '../backup/slab-file.js';
import { Device, type DeviceParts } from '../device.js';
import type { CopyPlace, DeviceRack, SetAnswer, SetRow, SlabNode } from '../ports.js';
import { planOf } from '../slabs.js';

/** Two areas each. */
export const SLAB_BYTES = 2 * 263_000 + 4096;
export const DATA_BYTES = planOf(1, SLAB_BYTES).layout.dataBytes;
export const PATH = '/backup';
const OF = { device: 1, slabBytes: SLAB_BYTES };
const FOREVER = 10_000_000;

export interface BackedShape {
  readonly slabs: number;
  readonly copies: number;
  readonly nodes: number;
  /** Missing: true. */
  readonly isBackedUp?: boolean;
}

/** Of which tests know more. */
interface RigDisk {
  of(user: BackedDevice<RigDisk>): Disk;
}

export class BackedDevice<D extends RigDisk> implements DeviceRack {
  readonly world: World;
  readonly disk: D;
  readonly rows = new Map<number, SetRow>();
  /** Of the controller. */
  areAnswersLost = false;
  answersAfterMs = 0;
  /** Of rows since it was opened. */
  leastCopies = Infinity;
  readonly #shape: BackedShape;
  #nodes: { readonly id: string; memoryId: number; node: LendingNode }[];
  device!: Device;
  file!: BackupFile;

  /** `immediate` is `setImmediate`. */
  constructor(disk: D, immediate: (run: () => void) => unknown, shape: BackedShape) {
    this.world = new World(1, () => new Promise((resolve) => immediate(resolve)));
    this.disk = disk;
    this.#shape = shape;
    this.#nodes = Array.from({ length: shape.nodes }, (_, i) => {
      return { id: `node-${i}`, memoryId: 1, node: new LendingNode() };
    });
  }

  whenAwake = (run: () => void): void => run();

  /** What it gives, when that is there. */
  async drive<T>(doing: Promise<T>, forMs = FOREVER): Promise<T> {
    let isOver = false;
    const end = doing.finally(() => (isOver = true));
    end.catch(() => undefined);
    if (!(await this.world.run(() => isOver, this.world.nowMs + forMs))) {
      throw new Error(`it came to no end within ${forMs} ms`);
    }
    return end;
  }

  pass(ms: number): Promise<void> {
    return this.drive(this.world.sleep(ms));
  }

  #entropy() {
    const { prng } = this.world;
    const u53 = () => 1 + prng.u32();
    return { u32: () => prng.u32(), u53, fraction: () => prng.fraction() };
  }

  async make(): Promise<void> {
    const disk = this.disk.of(this);
    const making = makeBackup({ disk, checksum: { crc32c }, entropy: this.#entropy() }, PATH, OF);
    await this.drive(making);
  }

  /** A new writer, with the rows that there are. */
  async open(swept?: Promise<void>, copies = this.#shape.copies): Promise<void> {
    const opening = BackupFile.open({
      ...{ ...this.#parts(), ...OF, disk: this.disk.of(this), path: PATH },
      bufferBytes: 64 * 4096,
      failed: () => undefined,
    });
    const file = await this.drive(opening);
    if (typeof file === 'string') throw new Error(file);
    this.file = file;
    const sweeping = swept === undefined ? {} : { swept };
    this.#serve(copies, { backup: file, ...sweeping });
  }

  /** One that cannot have the file. */
  openWithout(unwritten: () => Unwritten | undefined): void {
    this.#serve(this.#shape.copies, { unwritten });
  }

  #parts() {
    return { clock: this.world, timers: this.world, checksum: { crc32c } };
  }

  #serve(copies: number, more: Pick<DeviceParts, 'backup' | 'swept' | 'unwritten'>): void {
    const { rows } = this;
    const { slabs, isBackedUp = true } = this.#shape;
    this.leastCopies = Infinity;
    this.device = new Device({
      ...{ ...this.#parts(), entropy: this.#entropy(), rack: this, ...more },
      rows: [...rows.values()],
      facts: { bytes: slabs * DATA_BYTES, slabBytes: SLAB_BYTES, copies, isBackedUp },
      policy: bestFreeOfTwo,
      patienceMs: 30_000,
      paced: (_bytes, work) => work(),
    });
  }

  addNode(): void {
    this.#nodes.push({ id: `node-${this.#nodes.length}`, memoryId: 1, node: new LendingNode() });
  }

  /** No node answers for so long. */
  pauseMemory(ms: number): void {
    for (const { node } of this.#nodes) node.pausedUntilMs = this.world.nowMs + ms;
  }

  /** The node has no room for what its copies have nothing of yet. */
  fill(node: string): void {
    const full = this.#nodes.find(({ id }) => id === node);
    if (full !== undefined) full.node.fullBelow = DATA_BYTES;
  }

  /** Memory of all nodes, or of the first ones, is gone for good, and other memory is there. */
  loseMemory(count = this.#nodes.length): void {
    for (const one of this.#nodes.slice(0, count)) {
      one.node.isLost = true;
      one.node = new LendingNode();
      one.memoryId += 1;
    }
  }

  /** `value` in every byte of the block. */
  write(at: number, value: number): Promise<Status> {
    return new Promise((resolve) => {
      const completed = (_token: number, status: Status): void => resolve(status);
      const bytes = new Uint8Array(4096).fill(value);
      this.device.write(at, bytes, 0, bytes.length, { completed }, 0);
    });
  }

  /** The value of the first byte, or why it cannot be read. */
  async read(at: number): Promise<number | string> {
    const bytes = new Uint8Array(4096);
    const status = await new Promise<Status>((resolve) => {
      const completed = (_token: number, end: Status): void => resolve(end);
      this.device.read(at, bytes, 0, bytes.length, { completed }, 0);
    });
    return status === Status.Ok ? (bytes[0] as number) : `status ${status}`;
  }

  // ------------------------------------------------------------------------------- as a rack

  get epoch(): number {
    return 0;
  }

  async nodes(): Promise<readonly SlabNode[]> {
    const lent = { bytesLent: 1e9, bytesFree: 1e9, bytesCommitted: 0 };
    const there = { isServing: true, isLeaving: false, ...lent };
    return this.#nodes.map(({ id, memoryId }) => ({ ...there, id, memoryId, machine: id }));
  }

  async take(node: string, _slab: number, copy: number): Promise<CopyPlace | Status> {
    const one = this.#nodes.find(({ id }) => id === node);
    if (one === undefined) return Status.Unavailable;
    one.node.copies.set(copy, new Uint8Array(SLAB_BYTES));
    return { copy, node, memoryId: one.memoryId, space: 1, address: copy };
  }

  give(): void {
    // There is room for all.
  }

  async putSet(row: SetRow): Promise<SetAnswer> {
    if (this.answersAfterMs > 0) await this.world.sleep(this.answersAfterMs);
    this.rows.set(row.slab, row);
    this.leastCopies = Math.min(row.copies.length, this.leastCopies);
    return { status: this.areAnswersLost ? Status.OutcomeUnknown : Status.Ok };
  }

  async confirm(): Promise<boolean> {
    return true;
  }

  copyAt({ copy, node, memoryId }: CopyPlace): Copy {
    const one = this.#nodes.find(({ id }) => id === node);
    const gone = Object.assign(new LendingNode(), { isLost: true });
    return new Path(copy, one?.memoryId === memoryId ? one.node : gone, this);
  }

  async tellUse(): Promise<undefined> {
    return undefined;
  }

  leaveUnused(): void {
    // Nothing is held up here.
  }

  lose(why: string): void {
    throw new Error(why);
  }
}

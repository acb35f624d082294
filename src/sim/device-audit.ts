/**
 * What is looked at in the end of block devices: every slab has its copies, all bytes are read once
 * more, copies are equal, and nothing is left of what belongs to nobody, nor of removed devices.
 */

import { Status, statusName } from '../base/status.js';
import { BackupFile } from '../block/backup/backup-file.js';
import type { BackupSlab } from '../block/backup/backup-slab.js';
import { Kept } from '../block/backup/layout.js';
import { LeasedRack } from '../block/leased-rack.js';
import { removeDevice } from '../block/manage.js';
import { Memories } from '../block/memories.js';
import { type CopyPlace, isBackup, type SetRow } from '../block/ports.js';
import { planOf } from '../block/slabs.js';
import { MemrackError } from '../client/error.js';
import type { Lease } from '../client/lease.js';
import type { Rack } from '../client/rack.js';
import { BackgroundWindow } from '../fabric/background-window.js';
import { AREA_BYTES, PIECE_BYTES } from '../replication/layout.js';
import { sleep } from '../runtime/clock.js';
import type { SimulatedProcess } from '../runtime/simulated/world.js';
import { SECTOR_BYTES } from '../wire/limits.js';
import type { Complaint } from './checkers/foreign.js';
import { isWhole, rowsOf } from './device-watch.js';
import { AUDITOR, type Journal } from './journal.js';
import { ObservedDevice } from './observed-device.js';
import type { DeviceShape, SimulatedRack } from './rack.js';

const PAUSE_MS = 100;
const CALL_MS = 10_000;
/** Longer than all that waits before it tries again. */
const WHOLE_WITHIN_MS = 60_000;
/** After which an operator kills them; their leases run out. */
const STOPPED_WITHIN_MS = 20_000;
const LEASE_MS = 30_000;

export class DeviceAudit {
  readonly #rack: SimulatedRack;
  readonly #journal: Journal;
  readonly #process: SimulatedProcess;
  readonly #client: Rack;
  readonly #memories: Memories;
  readonly #complaints: Complaint[] = [];
  stage = '';

  constructor(rack: SimulatedRack, journal: Journal, process: SimulatedProcess, client: Rack) {
    this.#rack = rack;
    this.#journal = journal;
    this.#process = process;
    this.#client = client;
    this.#memories = new Memories(process.runtime.clock, client.core.control);
  }

  async run(): Promise<readonly Complaint[]> {
    const devices = this.#rack.shape.devices ?? [];
    for (const device of devices) {
      this.stage = `reading ${device.name}`;
      await this.#readAll(device);
    }
    for (const device of devices) {
      this.stage = `waiting until ${device.name} is whole`;
      if (!this.#mayBeLost(device)) await this.#untilWhole(device);
    }
    this.stage = 'stopping the hosts';
    this.#rack.stopHosts();
    const untilMs = this.#process.runtime.clock.now() + STOPPED_WITHIN_MS;
    while (!this.#rack.areHostsStopped) {
      await this.#pause();
      if (this.#process.runtime.clock.now() < untilMs) continue;
      this.#complain('host-not-stopped', `a host did not stop within ${STOPPED_WITHIN_MS} ms`);
      return this.#complaints;
    }
    for (const device of devices) {
      this.stage = `comparing the copies of ${device.name}`;
      if (!this.#mayBeLost(device)) await this.#compare(device);
      this.stage = `removing ${device.name}`;
      await this.#again(() => removeDevice(this.#client.core, device.name));
    }
    return this.#complaints;
  }

  #mayBeLost({ name }: DeviceShape): boolean {
    return this.#journal.mayBeLost.has(name);
  }

  #pause(): Promise<void> {
    return sleep(this.#process.runtime.timers, PAUSE_MS);
  }

  #complain(kind: string, text: string): void {
    this.#complaints.push({ kind, text });
  }

  async #again<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof MemrackError) || error.code === 'NotFound') throw error;
        this.#journal.note(`${this.stage}: ${error.message}`);
        await this.#pause();
      }
    }
  }

  /** Also what nobody wrote to. */
  async #readAll(shape: DeviceShape): Promise<void> {
    const { runtime } = this.#process;
    const { world, doors } = this.#rack;
    const device = new ObservedDevice({
      ...{
        client: AUDITOR,
        device: shape,
        doors,
        journal: this.#journal,
        hostOf: new Map<string, number>(),
      },
      ...{ runtime, prng: world.prng.fork(`audit of ${shape.name}`), patienceMs: CALL_MS * 4 },
      ...{ nowMs: () => world.nowMs, noteOutcome: () => undefined },
    });
    const each = PIECE_BYTES / SECTOR_BYTES;
    for (let first = 0; first < device.sectors; ) {
      // Its end is known when a host has been asked.
      const range = { lane: 0, first, count: Math.min(each, device.sectors - first) };
      const code = (await device.read(range))?.code;
      if (code === 'Ok' || code === 'DataLost') first += each;
      if (code !== 'Ok') await this.#pause();
    }
    // It stays served: what is not whole yet is made whole.
    this.#readers.push(device);
  }

  readonly #readers: ObservedDevice[] = [];

  async #untilWhole(shape: DeviceShape): Promise<void> {
    const { clock } = this.#process.runtime;
    const untilMs = clock.now() + WHOLE_WITHIN_MS;
    for (;;) {
      const nodes = await this.#memories.list();
      const [, rows] = await rowsOf(this.#client, shape.name);
      const mayLackFile = this.#rack.hosts.length > 1;
      const broken = rows.filter((row) => {
        return nodes === undefined || !isWhole(row, shape, nodes, mayLackFile);
      });
      if (broken.length === 0) return;
      if (clock.now() >= untilMs) {
        const text = broken.map(({ slab, copies }) => {
          return `slab ${slab} has ${copies.map(({ node }) => node).join(', ') || 'none'}`;
        });
        return this.#complain('not-whole', `${shape.name} in the end: ${text.join('; ')}`);
      }
      await this.#pause();
    }
  }

  /** As a holder of the device's lease, when no host is there any more. */
  async #compare(shape: DeviceShape): Promise<void> {
    const { leases, control, connections } = this.#client.core;
    const { runtime } = this.#process;
    const [device, rows, backup] = await rowsOf(this.#client, shape.name);
    const nodes = (await this.#memories.list()) ?? [];
    const wish = { nodes: nodes.map(({ id }) => id), durationMs: LEASE_MS, waitMs: LEASE_MS };
    const lease = await this.#again(() => leases.acquireOfDevice(device, wish));
    const rack = new LeasedRack({
      ...{ runtime, control, connections, memories: this.#memories, device },
      ...{ lease: asHeld(lease), slabBytes: shape.slabBytes },
      windowTo: () => new BackgroundWindow(runtime.clock),
    });
    const file = backup === undefined ? undefined : await this.#openBackup(shape, device, backup);
    for (const row of rows) {
      await this.#compareSlab(rack, row, shape);
      if (file !== undefined && row.copies.some(isBackup)) {
        await this.#compareFile(rack, row, shape, file.slab(row.slab));
      }
    }
    await file?.end();
    rack.stop();
    await lease.release();
  }

  /** As its host does, where no host is any more. */
  async #openBackup(
    { slabBytes }: DeviceShape,
    device: number,
    path: string,
  ): Promise<BackupFile | undefined> {
    const [host] = this.#rack.hosts;
    if (host === undefined) return undefined;
    const { runtime } = this.#rack.world.program(host.machine, 'backup-reader');
    const { disk, clock, timers, checksum } = runtime;
    const file = await BackupFile.open({
      ...{ disk, clock, timers, checksum, path, device, slabBytes },
      ...{ bufferBytes: PIECE_BYTES, failed: () => undefined },
    });
    if (typeof file !== 'string') return file;
    this.#complain('backup-not-readable', file);
    return undefined;
  }

  /** What the file says to be right is what the copies have. */
  async #compareFile(
    rack: LeasedRack,
    row: SetRow,
    shape: DeviceShape,
    slab: BackupSlab,
  ): Promise<void> {
    const { dataBytes } = planOf(1, shape.slabBytes).layout;
    const [place] = row.copies.filter((one) => !isBackup(one));
    await slab.load();
    for (let at = 0; at < dataBytes && place !== undefined; at += PIECE_BYTES) {
      const state = slab.state(Math.floor(at / AREA_BYTES));
      if (state === Kept.DIRTY || state === Kept.LOST) continue;
      const [kept, there] = [await this.#kept(slab, at), await this.#piece(rack, place, at)];
      if (there?.every((byte, i) => byte === kept[i]) === true) continue;
      const text = `slab ${row.slab} of ${shape.name}: the file differs, from ${at} on`;
      return this.#complain('backup-differs', text);
    }
  }

  async #kept(slab: BackupSlab, at: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(PIECE_BYTES);
    await new Promise<void>((resolve) => {
      slab.read(at, bytes, 0, PIECE_BYTES, { completed: () => resolve() }, 0);
    });
    return bytes;
  }

  async #compareSlab(rack: LeasedRack, row: SetRow, shape: DeviceShape): Promise<void> {
    const { dataBytes } = planOf(1, shape.slabBytes).layout;
    for (let at = 0; at < dataBytes; at += PIECE_BYTES) {
      const remote = row.copies.filter((place) => !isBackup(place));
      const pieces = await Promise.all(remote.map((place) => this.#piece(rack, place, at)));
      const [first] = pieces;
      const isSame = pieces.every((one) => one?.every((byte, i) => byte === first?.[i]) === true);
      if (isSame) continue;
      const nodes = row.copies.map(({ node }) => node).join(' and ');
      const text = `slab ${row.slab} of ${shape.name} is not the same at ${nodes}, from ${at} on`;
      return this.#complain('copies-differ', text);
    }
  }

  async #piece(rack: LeasedRack, place: CopyPlace, at: number): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(PIECE_BYTES);
    const { clock } = this.#process.runtime;
    const status = await new Promise<Status>((resolve) => {
      const sink = { completed: (_token: number, end: Status) => resolve(end) };
      rack.copyAt(place).read(at, bytes, 0, PIECE_BYTES, sink, 0, clock.now() + CALL_MS);
    });
    if (status === Status.Ok) return bytes;
    const text = `slab copy at ${place.node}: ${statusName(status) ?? status} in the end`;
    this.#complain('copy-not-readable', text);
    return undefined;
  }
}

function asHeld(lease: Lease) {
  return {
    number: lease.number,
    epoch: lease.epoch,
    nodes: lease.nodes,
    memoryAt: (node: string) => lease.memoryAt(node),
    extend: () => Promise.resolve(Status.Unavailable),
    shrink: () => Promise.resolve(Status.Unavailable),
    confirm: () => lease.confirm(),
    lose: (why: string) => lease.lose(why),
  };
}

/**
 * Looks at the file behind a device as the disk has it, and writes nothing: both heads, each record
 * of the map, and of areas that are clean each block.
 *
 * Its host may write to it meanwhile. An area is durably DIRTY before it is written to, so what is
 * wrong counts only where the record says the same again after the blocks were read.
 */

import { OWNER_BLOCK_BYTES } from '../../disk/slab-owner.js';
import { BlockChecksum } from '../../replication/block-checksum.js';
import { AREA_BLOCKS, AREA_BYTES, BLOCK_BYTES, layoutOf } from '../../replication/layout.js';
import { sleep, type Timers } from '../../runtime/clock.js';
import { DiskError, type File } from '../../runtime/disk.js';
import type { Checksum } from '../../runtime/runtime.js';
import {
  type FileFacts,
  type FilePlan,
  factsIn,
  filePlanOf,
  HEAD_BYTES,
  HEADS_BYTES,
  Kept,
  RECORD_BYTES,
  SlabMap,
} from './layout.js';

/** A record that its host is just writing may be seen half. */
const AGAIN_MS = 50;
/** As often an area is looked at that changes; then it is one that is written to. */
const LOOKS_MAX = 3;

export interface Damage {
  readonly slab: number;
  /** Undefined: it is what the map says of the slab itself, or cannot be read of it. */
  readonly area?: number;
  readonly what: string;
}

export interface BackupLook {
  readonly facts: FileFacts;
  readonly fileBytes: number;
  /** Slabs that the file is long enough for. */
  readonly slabs: number;
  /** Of the two. */
  readonly wholeHeads: number;
  readonly areas: Readonly<Record<keyof typeof Kept, number>>;
  readonly damage: readonly Damage[];
}

export interface VerifyParts {
  readonly file: File;
  readonly checksum: Checksum;
  readonly timers: Timers;
}

/** A text says why it cannot be read at all. Rejects with `DiskError` where its heads cannot be. */
export async function verifyBackup(parts: VerifyParts): Promise<BackupLook | string> {
  const { file, checksum } = parts;
  const heads = new Uint8Array(HEADS_BYTES);
  await file.read(0, heads);
  const facts = factsIn(heads, checksum);
  if (typeof facts === 'string') return facts;
  const each = [heads.subarray(0, HEAD_BYTES), heads.subarray(HEAD_BYTES)];
  const wholeHeads = each.filter((head) => typeof factsIn(head, checksum) !== 'string').length;
  return new Verifier(parts, facts, wholeHeads, await file.size()).look();
}

const NAMES = {
  [Kept.ABSENT]: 'ABSENT',
  [Kept.CLEAN]: 'CLEAN',
  [Kept.DIRTY]: 'DIRTY',
  [Kept.LOST]: 'LOST',
} as const;

class Verifier {
  readonly #parts: VerifyParts;
  readonly #facts: FileFacts;
  readonly #wholeHeads: number;
  readonly #fileBytes: number;
  readonly #slabs: number;
  readonly #slabAreas: number;
  readonly #plan: FilePlan;
  readonly #sums: BlockChecksum;
  readonly #areas = { ABSENT: 0, CLEAN: 0, DIRTY: 0, LOST: 0 };
  readonly #damage: Damage[] = [];
  readonly #data = new Uint8Array(AREA_BYTES);

  constructor(parts: VerifyParts, facts: FileFacts, wholeHeads: number, fileBytes: number) {
    this.#parts = parts;
    this.#facts = facts;
    this.#wholeHeads = wholeHeads;
    this.#fileBytes = fileBytes;
    const layout = layoutOf(facts.slabBytes - OWNER_BLOCK_BYTES);
    this.#plan = filePlanOf(layout);
    this.#slabAreas = layout.areas;
    const slabBytes = this.#plan.map(1) - this.#plan.map(0);
    this.#slabs = Math.max(0, Math.ceil((fileBytes - this.#plan.map(0)) / slabBytes));
    this.#sums = new BlockChecksum(parts.checksum);
  }

  async look(): Promise<BackupLook> {
    for (let slab = 0; slab < this.#slabs; slab++) {
      await this.#guarded({ slab }, () => this.#lookAtSlab(slab));
    }
    return {
      ...{ facts: this.#facts, fileBytes: this.#fileBytes, slabs: this.#slabs },
      ...{ wholeHeads: this.#wholeHeads, areas: this.#areas, damage: this.#damage },
    };
  }

  /** What the disk does not give is damage, of that alone. */
  async #guarded(where: Omit<Damage, 'what'>, look: () => Promise<void>): Promise<void> {
    try {
      await look();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#damage.push({ ...where, what: error.message });
    }
  }

  /** What is behind the end of the file was never written. */
  async #read(at: number, into: Uint8Array): Promise<Uint8Array> {
    const done = await this.#parts.file.read(at, into);
    return into.fill(0, done);
  }

  async #lookAtSlab(slab: number): Promise<void> {
    const bytes = await this.#read(this.#plan.map(slab), new Uint8Array(this.#plan.mapBytes));
    const map = new SlabMap({ file: this.#facts.file, slab }, bytes, this.#parts.checksum);
    if (map.areMarksDamaged && (await this.#areMarksDamagedStill(slab))) {
      this.#damage.push({ slab, what: 'the record of its generation is not whole' });
    }
    for (let area = 0; area < this.#slabAreas; area++) {
      const isSimple = map.state(area) === Kept.ABSENT || map.state(area) === Kept.LOST;
      if (isSimple) this.#count(map.state(area));
      else await this.#guarded({ slab, area }, () => this.#lookAtArea(slab, area));
    }
  }

  async #areMarksDamagedStill(slab: number): Promise<boolean> {
    await sleep(this.#parts.timers, AGAIN_MS);
    const bytes = await this.#read(this.#plan.map(slab), new Uint8Array(this.#plan.mapBytes));
    const of = { file: this.#facts.file, slab };
    return new SlabMap(of, bytes, this.#parts.checksum).areMarksDamaged;
  }

  #count(state: Kept): void {
    this.#areas[NAMES[state]] += 1;
  }

  async #lookAtArea(slab: number, area: number): Promise<void> {
    const of = { file: this.#facts.file, slab };
    const at = this.#plan.record(slab, area);
    for (let looks = 0; looks < LOOKS_MAX; looks++) {
      const record = await this.#read(at, new Uint8Array(RECORD_BYTES));
      const map = new SlabMap(of, record, this.#parts.checksum, area);
      const state = map.state(area);
      const what = map.isDamaged(area)
        ? 'its record is not whole'
        : await this.#wrongIn(slab, area, map);
      if (what === undefined) {
        this.#count(state);
        return;
      }
      await sleep(this.#parts.timers, AGAIN_MS);
      const again = await this.#read(at, new Uint8Array(RECORD_BYTES));
      if (again.every((byte, i) => byte === record[i])) {
        this.#count(state);
        this.#damage.push({ slab, area, what });
        return;
      }
    }
    this.#count(Kept.DIRTY);
  }

  /** Undefined: of an area that is clean all is what it was. */
  async #wrongIn(slab: number, area: number, map: SlabMap): Promise<string | undefined> {
    if (map.state(area) !== Kept.CLEAN) return undefined;
    const data = await this.#read(this.#plan.block(slab, area * AREA_BLOCKS), this.#data);
    const sums = map.checksums(area);
    const wrong = [...sums.keys()].filter((i) => this.#sums.of(data, i * BLOCK_BYTES) !== sums[i]);
    if (wrong.length === 0) return undefined;
    const blocks = wrong.map((i) => area * AREA_BLOCKS + i);
    return `${wrong.length} of its blocks are not what was written: ${rangesOf(blocks)}`;
  }
}

/** As `1 to 3, 7`. */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const one of numbers) {
    const last = ranges.at(-1);
    if (last?.[1] === one - 1) last[1] = one;
    else ranges.push([one, one]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`)).join(', ');
}

/**
 * A block device as a client program uses it, over NBD, written into the journal: each sector is a
 * register. Every word of a sector that was written says which write it was, and of which sector,
 * so that bytes of another sector, or of two writes, are known at sight.
 */

import type { Prng } from '../base/prng.js';
import { STATUS_FACTS, type StatusName } from '../base/status.js';
import { planOf } from '../block/slabs.js';
import { NBD_ENOSPC } from '../doors/nbd/protocol.js';
import { NbdClient } from '../doors/nbd/testing/client.js';
import type { Answer } from '../doors/nbd/testing/pending.js';
import { BLOCK_BYTES } from '../replication/layout.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { SECTOR_BYTES } from '../wire/limits.js';
import { DISCARDED, type WordOperation, WordVerb, ZERO } from './checkers/history.js';
import { type Ended, type Journal, SUCCESS } from './journal.js';
import type { NoteOutcome } from './observed-space.js';
import type { DeviceShape } from './rack.js';

export interface ObservedDeviceFacts {
  readonly client: number;
  readonly device: DeviceShape;
  /** Of the hosts: one of them serves it, at a time. */
  readonly doors: readonly string[];
  readonly journal: Journal;
  /** By device: the host where most clients look for it; and until when all go to the first. */
  readonly hostOf: Map<string, number>;
  readonly runtime: Pick<Runtime, 'network' | 'timers'>;
  readonly prng: Prng;
  readonly nowMs: () => number;
  readonly noteOutcome: NoteOutcome;
  /** After which it gives up and connects anew; missing: by chance. */
  readonly patienceMs?: number;
}

/** Sectors that follow each other, as one of several lanes of the client uses them. */
export interface SectorRange {
  readonly lane: number;
  readonly first: number;
  readonly count: number;
}

/** What was beyond the end of a device that became smaller, and may come back, as zeros. */
export interface SectorCut {
  /** `isDone`: it has become smaller; else nobody knows whether it has. */
  end(isDone: boolean): void;
}

/**
 * A lane of a connection is a client of its own for the checkers: it does one thing after the
 * other. What was under way when its connection ended may be done at any later moment.
 */
const LANES_MAX = 16;
const CONNECTIONS_MAX = 4096;
const OPEN_MS = 8_000;
const AGAIN_MS = 50;
/** After which a client gives up and connects anew. */
const PATIENCES_MS = [2_000, 6_000, 40_000];
/** How often who does not reach a host tries another one, and all others with it. */
const OTHER_HOST_PER_MILLION = 300_000;
const TO_FILE_PER_MILLION = 100_000;
const AT_FILE_MS = 15_000;
const WORDS = SECTOR_BYTES / 8;
const BLOCK_SECTORS = BLOCK_BYTES / SECTOR_BYTES;

/** Who makes devices smaller is no client of theirs: lanes of a number that no client has. */
const CUTTER = 1_000;

export class ObservedDevice {
  /** As the host said when it was asked last. */
  sectors: number;
  readonly shape: DeviceShape;
  readonly #facts: ObservedDeviceFacts;
  readonly #patienceMs: number;
  #connection: NbdClient | undefined;
  #connections = 0;
  #host = 0;
  #connecting: Promise<NbdClient | undefined> | undefined;

  constructor(facts: ObservedDeviceFacts) {
    this.#facts = facts;
    this.shape = facts.device;
    this.sectors = facts.device.bytes / SECTOR_BYTES;
    this.#patienceMs = facts.patienceMs ?? facts.prng.pick(PATIENCES_MS);
  }

  async read(range: SectorRange): Promise<Ended | undefined> {
    const client = await this.#connected();
    if (client === undefined) return undefined;
    const operations = this.#begin(range, WordVerb.read, 0);
    const reading = client.read(range.first * SECTOR_BYTES, range.count * SECTOR_BYTES);
    const { ended, answer } = await this.#ended('read', client, reading);
    const isRead = ended.code === 'Ok';
    const moment = isRead ? this.#facts.journal.moment() : DISCARDED;
    operations.forEach((operation, i) => {
      const place = i * SECTOR_BYTES;
      const isTorn = isRead && this.#isTorn(answer.data, place, range.first + i);
      if (isRead && !isTorn) {
        const value = this.#valueOf(answer.data, place, range.first + i);
        operation.result = { low: value, high: 0 };
      }
      operation.returnedAt = isTorn ? DISCARDED : moment;
    });
    return ended;
  }

  async write(range: SectorRange, flags = 0): Promise<Ended | undefined> {
    const client = await this.#connected();
    if (client === undefined) return undefined;
    const number = this.#facts.journal.moment();
    const operations = this.#begin(range, WordVerb.write, number);
    const bytes = new Uint8Array(range.count * SECTOR_BYTES);
    for (let i = 0; i < range.count; i++) {
      const words = new Uint32Array(bytes.buffer, i * SECTOR_BYTES, 2 * WORDS);
      for (let word = 0; word < 2 * WORDS; word += 2) {
        words[word] = number;
        words[word + 1] = range.first + i + 1;
      }
    }
    const writing = client.write(range.first * SECTOR_BYTES, bytes, flags);
    return this.#endWrite(operations, (await this.#ended('write', client, writing)).ended);
  }

  async zero(range: SectorRange, flags = 0): Promise<Ended | undefined> {
    const client = await this.#connected();
    if (client === undefined) return undefined;
    const operations = this.#begin(range, WordVerb.write, 0);
    const [at, bytes] = [range.first * SECTOR_BYTES, range.count * SECTOR_BYTES];
    const zeroing = client.zeroes(at, bytes, flags);
    return this.#endWrite(operations, (await this.#ended('zero', client, zeroing)).ended);
  }

  /** Blocks that are covered as a whole are zeros then; the rest stays as it was. */
  async trim(range: SectorRange, flags = 0): Promise<Ended | undefined> {
    const client = await this.#connected();
    if (client === undefined) return undefined;
    const first = Math.ceil(range.first / BLOCK_SECTORS) * BLOCK_SECTORS;
    const end = Math.floor((range.first + range.count) / BLOCK_SECTORS) * BLOCK_SECTORS;
    const blocks = { ...range, first, count: Math.max(0, end - first) };
    const operations = this.#begin(blocks, WordVerb.write, 0);
    const [at, bytes] = [range.first * SECTOR_BYTES, range.count * SECTOR_BYTES];
    const trimming = client.trim(at, bytes, flags);
    return this.#endWrite(operations, (await this.#ended('trim', client, trimming)).ended);
  }

  async flush(): Promise<Ended | undefined> {
    const client = await this.#connected();
    if (client === undefined) return undefined;
    const askedAt = this.#facts.journal.moment();
    const { ended } = await this.#ended('flush', client, client.flush());
    if (ended.code === 'Ok') this.#facts.journal.noteFlush(this.shape.name, askedAt);
    return ended;
  }

  /** An error says neither that it was done nor that it was not. */
  #endWrite(operations: readonly WordOperation[], ended: Ended): Ended {
    if (ended.code !== 'Ok') return ended;
    const moment = this.#facts.journal.moment();
    for (const operation of operations) operation.returnedAt = moment;
    return ended;
  }

  #begin(range: SectorRange, verb: WordVerb, number: number): WordOperation[] {
    const connection = this.#facts.client * CONNECTIONS_MAX + this.#connections;
    return this.#record(connection * LANES_MAX + range.lane, range, verb, number);
  }

  #record(
    client: number,
    { first, count }: Omit<SectorRange, 'lane'>,
    verb: WordVerb,
    number: number,
    calledAt = this.#facts.journal.moment(),
  ): WordOperation[] {
    const { journal, device } = this.#facts;
    return Array.from({ length: count }, (_, i) => {
      const operation: WordOperation = {
        client,
        verb,
        argument: { low: number, high: 0 },
        expected: ZERO,
        result: ZERO,
        calledAt,
        returnedAt: Infinity,
      };
      journal.recordSector(`${device.name} sector ${first + i}`, operation);
      return operation;
    });
  }

  /** By a disk that lost its power while it was written, or by a thread that was stopped. */
  #isTorn(bytes: Uint8Array, at: number, sector: number): boolean {
    const { journal, device } = this.#facts;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, SECTOR_BYTES);
    const first = view.getBigUint64(0, true);
    const words = Array.from({ length: WORDS }, (_, i) => view.getBigUint64(8 * i, true));
    if (words.every((word) => word === first)) return false;
    const name = `${device.name} sector ${sector}`;
    if (journal.mayBeTorn.has(name)) return true;
    const { dataBytes } = planOf(1, device.slabBytes).layout;
    const slab = Math.floor((sector * SECTOR_BYTES) / dataBytes);
    if (!this.#isOfUnknown(name, words)) return false;
    journal.tornReads.push({ device: device.name, slab, sector });
    return true;
  }

  /** Whether one of the values is of a write of which nobody knows whether it was done. */
  #isOfUnknown(sector: string, words: readonly bigint[]): boolean {
    const shown = new Set(words.map((word) => Number(word & 0xffff_ffffn)));
    const operations = this.#facts.journal.sectors.get(sector)?.operations ?? [];
    return operations.some(({ verb, argument, returnedAt }) => {
      return verb === WordVerb.write && returnedAt === Infinity && shown.has(argument.low);
    });
  }

  /** The number of the write that the sector shows; 0: zeros. */
  #valueOf(bytes: Uint8Array, at: number, sector: number): number {
    const { journal, device } = this.#facts;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, SECTOR_BYTES);
    const [value, place] = [view.getUint32(0, true), view.getUint32(4, true)];
    for (let word = 0; word < SECTOR_BYTES; word += 8) {
      const isSame = view.getUint32(word, true) === value;
      if (isSame && view.getUint32(word + 4, true) === place) continue;
      journal.complain('torn-sector', `${device.name} sector ${sector} shows two values`);
      break;
    }
    if (place !== (value === 0 ? 0 : sector + 1)) {
      const text = `${device.name} sector ${sector} shows write ${value} of sector ${place - 1}`;
      journal.complain('foreign-sector', text);
    }
    return value;
  }

  async #ended(
    verb: string,
    client: NbdClient,
    asked: Promise<Answer>,
  ): Promise<{ ended: Ended; answer: Answer }> {
    const { journal, nowMs, noteOutcome, runtime, device } = this.#facts;
    const startedMs = nowMs();
    const timer = runtime.timers.after(this.#patienceMs, () => client.close());
    const answer = await asked;
    timer.cancel();
    if (client.violation !== undefined) journal.complain('nbd', client.violation);
    const ended = endOf(answer);
    journal.count(verb, ended);
    if (ended.code === 'Ok') return { ended, answer };
    noteOutcome(startedMs, ended.outcome === 'unknown' ? 'unknown' : 'failed');
    if (ended.code !== 'NoSpace') this.#mayBeInFile();
    const what = `${verb} of ${device.name} at ${answer.offset}, ${answer.length}`;
    journal.note(`client ${this.#facts.client}: ${what} ended: ${ended.code}`);
    const mayBeLost = ended.code === 'DataLost' && journal.mayBeLost.has(device.name);
    if ((ended.code === 'DataLost' || ended.code === 'Corrupt') && !mayBeLost) {
      const { offset, message } = answer;
      journal.complain('device', `${device.name} at ${offset}: ${verb} ended with ${message}`);
    }
    return { ended, answer };
  }

  /** At the first host alone: when all clients go there, and stay, it can have the device. */
  #mayBeInFile(): void {
    const { hostOf, device, prng, nowMs } = this.#facts;
    if (device.backup === undefined || !prng.chance(TO_FILE_PER_MILLION)) return;
    hostOf.set(untilKey(device), nowMs() + AT_FILE_MS);
  }

  get #isWantedAtFile(): boolean {
    const { hostOf, device, nowMs } = this.#facts;
    return nowMs() < (hostOf.get(untilKey(device)) ?? 0);
  }

  #connected(): Promise<NbdClient | undefined> {
    if (this.#isWantedAtFile && this.#host !== 0) this.#connection?.close();
    if (this.#connection !== undefined && this.#connection.closedBecause === undefined) {
      return Promise.resolve(this.#connection);
    }
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  /** To the host where the others are; undefined: not now. */
  async #connect(): Promise<NbdClient | undefined> {
    const { hostOf, device, doors, prng, runtime } = this.#facts;
    const wanted = this.#isWantedAtFile ? 0 : (hostOf.get(device.name) ?? 0);
    const host = wanted % doors.length;
    this.#connection = await this.#open(doors[host] as string);
    this.#host = host;
    this.#connections += 1;
    if (this.#connection !== undefined) return this.#connection;
    if (prng.chance(OTHER_HOST_PER_MILLION)) hostOf.set(device.name, host + 1);
    await sleep(runtime.timers, AGAIN_MS);
    return undefined;
  }

  async #open(door: string): Promise<NbdClient | undefined> {
    const { runtime, device } = this.#facts;
    const client = await NbdClient.connect(runtime.network, door).catch(() => undefined);
    if (client === undefined) return undefined;
    const timer = runtime.timers.after(OPEN_MS, () => client.close());
    const facts = (await client.structured()) ? await client.go(device.name) : -1;
    timer.cancel();
    if (typeof facts === 'number') client.close();
    else this.sectors = facts.bytes / SECTOR_BYTES;
    return typeof facts === 'number' ? undefined : client;
  }

  /** What was written from this sector on becomes zeros, from now on until it is over. */
  cutAt(sector: number): SectorCut {
    const { journal } = this.#facts;
    journal.cuts += 1;
    const ofNobody = (CUTTER * CONNECTIONS_MAX + journal.cuts) * LANES_MAX;
    const calledAt = journal.moment();
    const recorded = new Set<number>();
    const operations: WordOperation[] = [];
    const recordNew = (): void => {
      for (const first of this.#sectorsFrom(sector)) {
        if (recorded.has(first)) continue;
        recorded.add(first);
        const one = { first, count: 1 };
        operations.push(...this.#record(ofNobody, one, WordVerb.write, 0, calledAt));
      }
    };
    recordNew();
    return {
      end: (isDone) => {
        // Also what is written for the first time before all clients have left it.
        recordNew();
        if (isDone) this.#endWrite(operations, SUCCESS);
      },
    };
  }

  /** Those of which something is recorded. */
  #sectorsFrom(sector: number): number[] {
    const { journal, device } = this.#facts;
    const prefix = `${device.name} sector `;
    const names = [...journal.sectors.keys()].filter((name) => name.startsWith(prefix));
    return names.map((name) => Number(name.slice(prefix.length))).filter((one) => one >= sector);
  }

  close(): void {
    this.#connection?.disconnect();
  }
}

const untilKey = ({ name }: DeviceShape): string => `${name}, at its file until`;

function endOf({ error, message }: Answer): Ended {
  if (error === 0) return SUCCESS;
  if (error === NBD_ENOSPC) return { code: 'NoSpace', outcome: 'unknown' };
  const [name = ''] = message.split(':');
  const code = name in STATUS_FACTS ? (name as StatusName) : 'OutcomeUnknown';
  return { code, outcome: 'unknown' };
}

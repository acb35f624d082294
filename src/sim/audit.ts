/**
 * What is looked at when all is well again, through a client of its own: everything that was
 * acknowledged is read back, everything is freed, and then the whole memory of the rack can be
 * allocated and written again, so that nothing has leaked.
 */

import { Status } from '../base/status.js';
import { Control, type Member, type RegionFacts } from '../client/control.js';
import { connectRack, type Rack } from '../client/rack.js';
import { OVERCOMMIT } from '../controller/limits.js';
import { SLAB_SPACE_NAME } from '../controller/names.js';
import { createEndpoint } from '../fabric/endpoint.js';
import type { Peer } from '../fabric/link.js';
import { sleep } from '../runtime/clock.js';
import { FaultKind, type SimulatedProcess } from '../runtime/simulated/world.js';
import { PING_MS, RECORD_KEEP_MS, REGION_BYTES, SESSION_SILENCE_MS } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { BalanceAudit } from './balance.js';
import { judgeKeeping, type RegionInTheEnd } from './checkers/acknowledged.js';
import { judgeCounts, type NodeCounts } from './checkers/bounds.js';
import type { RegionSeen } from './checkers/ownership.js';
import { judgeHistory } from './checkers/told.js';
import { type Allocation, AUDITOR, type Ended, isNotApplied, type Journal } from './journal.js';
import { DeviceAudit } from './device-audit.js';
import { LendingAudit } from './lending.js';
import { ObservedFiles } from './observed-files.js';
import { ObservedSpace } from './observed-space.js';
import type { SimulatedRack } from './rack.js';
import { isGiven } from './workloads/workload.js';

/** Endpoints beside those of the clients that open windows. */
const WATCHERS = 2;
const PAUSE_MS = 50;
/** Longer than an allocation that nobody confirmed is kept, with a question or two after that. */
const UNUSED_WITHIN_MS = 60_000;
/** Longer than a node takes to look whether the owners of its slots live. */
const SLOTS_WITHIN_MS = 15_000;
/**
 * Longer than a node takes to forget a client that was killed behind a wire that was cut: it
 * notices by the silence, looked for now and then.
 */
const FORGOTTEN_MS = SESSION_SILENCE_MS + PING_MS + RECORD_KEEP_MS + 5_000;
/** Pages per allocation when all memory is taken. */
const CHUNK_PAGES = 4;

export class Audit {
  readonly #rack: SimulatedRack;
  readonly #journal: Journal;
  readonly #process: SimulatedProcess;
  readonly #regions: Map<string, RegionInTheEnd> = new Map();
  readonly #spaces: Map<string, ObservedSpace> = new Map();
  #stage = 'begin';
  #devices: DeviceAudit | undefined;

  constructor(rack: SimulatedRack, journal: Journal) {
    this.#rack = rack;
    this.#journal = journal;
    this.#process = rack.world.program(rack.world.machine('auditor'), 'auditor');
  }

  /** What it does now, for the report of an audit that never ends. */
  get stage(): string {
    return this.#devices?.stage ?? this.#stage;
  }

  async run(): Promise<void> {
    this.#stage = 'waiting for the rack';
    const client = await connectRack(this.#process.runtime, this.#rack.url, { timeoutMs: 10_000 });
    await this.#untilServing(client);
    this.#stage = 'listing regions';
    await this.#learnRegions(client);
    this.#stage = 'reading everything back';
    await this.#readBack();
    this.#stage = 'reading all files';
    await this.#readFiles(client);
    if (this.#rack.shape.devices !== undefined) {
      const devices = new DeviceAudit(this.#rack, this.#journal, this.#process, client);
      this.#devices = devices;
      for (const { kind, text } of await devices.run()) this.#journal.complain(kind, text);
      this.#devices = undefined;
    }
    this.#stage = 'freeing everything';
    await this.#freeAll();
    if (this.#mayHoldUnknown()) {
      this.#stage = 'removing the spaces';
      await this.#removeSpaces(client);
    }
    this.#stage = 'waiting until the nodes say that all is free';
    await this.#untilUnused(client);
    const { isShortOfMemory, devices } = this.#rack.shape;
    if (isShortOfMemory === true && devices === undefined) {
      this.#stage = 'running short of memory';
      const lending = new LendingAudit(this.#rack, this.#process, client);
      for (const { kind, text } of await lending.run()) this.#journal.complain(kind, text);
    }
    if (this.#rack.shape.isRebalancing === true) {
      this.#stage = 'moving regions by a policy';
      const balance = new BalanceAudit(this.#rack, this.#process, client);
      for (const { kind, text } of await balance.run()) this.#journal.complain(kind, text);
      await this.#untilUnused(client);
    }
    this.#stage = 'taking all memory';
    await this.#takeAll(client);
    this.#stage = 'looking at the counters';
    await this.#untilUnused(client);
    await this.#judgeCounters(client);
    for (const { kind, text } of judgeHistory(this.#rack.history)) {
      this.#journal.complain(kind, text);
    }
    await client.close();
  }

  /** The processes that run are those that the controller knows. */
  async #untilServing(client: Rack): Promise<void> {
    for (;;) {
      const nodes = await client.nodes();
      const isServing = this.#rack.supervisors.every((post, index) => {
        const pid = this.#rack.nodeProcess(index)?.pid;
        return nodes.some((one) => {
          return one.id === post.name && one.pid === pid && one.state === 'serving';
        });
      });
      if (isServing && this.#rack.isAdopted) return;
      await this.#pause();
    }
  }

  #pause(): Promise<void> {
    return sleep(this.#process.runtime.timers, PAUSE_MS);
  }

  async #learnRegions(client: Rack): Promise<void> {
    const { runtime } = this.#process;
    const endpoint = createEndpoint(runtime, {});
    const control = new Control(runtime, endpoint.peer(this.#rack.controllerAddress), 'audit');
    const { isRebalancing = false } = this.#rack.shape;
    for (const { name, id } of await client.spaces()) {
      if (name === SLAB_SPACE_NAME) continue;
      for (const { region, nodeId, state } of await this.#settledRegions(control, id)) {
        const key = `${name}/${region}`;
        const mayHaveMoved = isRebalancing || this.#journal.movedRegions.has(key);
        this.#regions.set(key, { node: nodeId, isLost: state === 'lost', mayHaveMoved });
      }
      this.#spaces.set(name, this.#observed(name, await client.space(name)));
    }
    await endpoint.close();
  }

  /**
   * When all are known, and of each who has it: the memory of a node that gave it away may be gone,
   * and a controller on an older copy of its database is still told of regions.
   */
  async #settledRegions(control: Control, space: number): Promise<readonly RegionFacts[]> {
    for (;;) {
      const answer = await control.regions(space, this.#process.runtime.clock.now() + 10_000);
      const { regions, mayLack } = answer;
      if (!mayLack && regions.every(({ state }) => state !== 'away')) return regions;
      await this.#pause();
    }
  }

  #observed(name: string, space: Awaited<ReturnType<Rack['space']>>): ObservedSpace {
    return new ObservedSpace({
      name,
      client: AUDITOR,
      pageBytes: this.#rack.shape.pageBytes,
      space,
      journal: this.#journal,
      nowMs: () => 0,
      noteOutcome: () => {},
    });
  }

  /** Those that nobody has begun to free, or whose freeing was refused. */
  #held(): Allocation[] {
    return this.#journal.allocations.filter((one) => one.freeCalledAt === Infinity);
  }

  async #readBack(): Promise<void> {
    for (const allocation of this.#held()) {
      const space = this.#spaces.get(allocation.space);
      const key = `${allocation.space}/${Math.floor(allocation.at / REGION_BYTES)}`;
      const region = this.#regions.get(key);
      if (space === undefined || region === undefined) {
        this.#journal.complain('not-readable', `nobody knows the region of ${allocation.name}`);
        continue;
      }
      if (allocation.rights?.text !== 'rw') await this.#allow(space, allocation, region);
      const ended = await space.readRange(allocation, 0, allocation.wordCount);
      const complaint = judgeKeeping(allocation, region, this.#rack.memoryEnds, ended);
      if (complaint !== undefined) this.#journal.complain(complaint.kind, complaint.text);
      if (ended.code !== 'Ok') continue;
      await Promise.all(
        [...allocation.words.keys()].map((word) => space.readWord(allocation, word)),
      );
    }
  }

  async #readFiles(client: Rack): Promise<void> {
    const facts = { client: AUDITOR, files: client.files, journal: this.#journal };
    const files = new ObservedFiles({ ...facts, nowMs: () => 0, noteOutcome: () => {} });
    for (const key of [...this.#journal.keys.keys()]) {
      const { code } = await files.get(key);
      if (code === 'Ok' || code === 'NotFound') continue;
      this.#journal.complain('not-readable', `the file ${key}: ${code} in the end`);
    }
  }

  /** Its client was killed, or the answer lost, while rights were taken away. */
  async #allow(space: ObservedSpace, one: Allocation, region: RegionInTheEnd): Promise<void> {
    const ended = await space.protect(one, 'rw');
    if (ended.code === 'Ok' || (region.isLost && ended.code === 'DataLost')) return;
    this.#journal.complain('not-readable', `${one.name}: protect ended with ${ended.code}`);
  }

  async #freeAll(): Promise<void> {
    for (const allocation of this.#held()) {
      const ended = await this.#spaces.get(allocation.space)?.free(allocation);
      if (ended === undefined || ended.code === 'Ok' || ended.code === 'DataLost') continue;
      this.#journal.complain('not-freed', `${allocation.name}: free ended with ${ended.code}`);
    }
  }

  /**
   * Memory that was not taken back, or that a client got which could not say so any more. However
   * an `alloc` failed it leaves nothing: its node, or its client, sees to that.
   */
  #mayHoldUnknown(): boolean {
    const { allocations, wasClientKilled, mayHoldFreed } = this.#journal;
    if (wasClientKilled || mayHoldFreed) return true;
    const isKnown = (freed: Ended | undefined): boolean => {
      return freed !== undefined && (freed.code === 'Ok' || isNotApplied(freed));
    };
    return allocations.some((one) => !isKnown(one.freed));
  }

  async #removeSpaces(client: Rack): Promise<void> {
    for (const name of this.#spaces.keys()) await client.removeSpace(name);
    const isLeft = ({ name }: { name: string }): boolean => name !== SLAB_SPACE_NAME;
    while ((await client.spaces()).some(isLeft)) await this.#pause();
  }

  async #takeAll(client: Rack): Promise<void> {
    const kind = this.#rack.shape.isPersistent === true ? 'persistent' : 'dram';
    const raw = await client.space('capacity', { create: true, kind });
    const space = this.#observed('capacity', raw);
    const perPage = this.#rack.shape.pageBytes / 8;
    const taken: Allocation[] = [];
    for (let refusals = 0; taken.length < this.#chunksOfRack() && refusals < REFUSALS_BELIEVED; ) {
      const given = await space.alloc(CHUNK_PAGES * this.#rack.shape.pageBytes);
      if (isGiven(given)) {
        taken.push(given);
        refusals = 0;
      } else if (given.code === 'NoSpace') {
        // A heartbeat may be late; and an allocation whose caller had given up may have reached
        // its node after the last heartbeat that said that nothing is held. It will expire.
        refusals += 1;
        await sleep(this.#process.runtime.timers, REFUSAL_PAUSE_MS);
      } else return this.#journal.complain('capacity', `alloc ended with ${given.code}`);
    }
    // What a client that is gone had reserved is kept for it for a while.
    const pages = taken.flatMap((allocation) => {
      return Array.from({ length: CHUNK_PAGES }, (_, page) => ({
        allocation,
        place: page * perPage + 1,
      }));
    });
    const left = await this.#writePages(space, pages);
    const allFrames = taken.length * CHUNK_PAGES - left.length === this.#rack.frames;
    if (!allFrames) await sleep(this.#process.runtime.timers, FORGOTTEN_MS);
    const rest = allFrames ? left : await this.#writePages(space, left);
    const written = taken.length * CHUNK_PAGES - rest.length;
    if (written !== this.#rack.frames) {
      const text = `${written} of ${this.#rack.frames} frames could be written in the end`;
      this.#journal.complain('frames-leaked', text);
    }
    for (const allocation of taken) {
      await space.readRange(allocation, 0, allocation.wordCount);
      const ended = await space.free(allocation);
      if (ended.code !== 'Ok') this.#journal.complain('not-freed', `capacity: ${ended.code}`);
    }
  }

  /** Allocations that all nodes can give together: each commits twice the pages that it has. */
  #chunksOfRack(): number {
    const { frames, nodes } = this.#rack.shape;
    return nodes * Math.floor((OVERCOMMIT * frames) / CHUNK_PAGES);
  }

  /** Touches each of the pages; returns those for which there was no frame. */
  async #writePages(space: ObservedSpace, pages: readonly PagePlace[]): Promise<PagePlace[]> {
    const refused: PagePlace[] = [];
    for (let i = 0; i < pages.length; i += CHUNK_PAGES) {
      const some = pages.slice(i, i + CHUNK_PAGES);
      const writes = some.map(({ allocation, place }) => space.writeWord(allocation, place));
      for (const [index, ended] of (await Promise.all(writes)).entries()) {
        const page = some[index];
        if (ended.code !== 'Ok' && page !== undefined) refused.push(page);
      }
    }
    return refused;
  }

  async #judgeCounters(client: Rack): Promise<void> {
    const { runtime } = this.#process;
    const endpoint = createEndpoint(runtime, {});
    const { injected } = this.#rack.world.faults;
    const limits = {
      clients: this.#journal.clients + WATCHERS,
      spaces: this.#spaces.size + 1,
      windowsUnheard: windowsUnheard(this.#journal),
      isCorrupted: injected[FaultKind.StreamCorruption] > 0,
    };
    for (const { id, address, kind } of await client.nodes()) {
      if (kind !== 'memory-node') continue;
      const counters = await this.#countersOf(endpoint.peer(address), id);
      if (counters === undefined) continue;
      const counts = { ...counters, node: id, malformed: counters.fabric.malformed };
      for (const { kind, text } of judgeCounts(counts, limits)) this.#journal.complain(kind, text);
    }
    await endpoint.close();
  }

  /**
   * Those who left without a word are noticed after a while, and an allocation that reached its
   * node after all was freed, though its caller had given up, expires.
   */
  async #countersOf(peer: Peer, id: string): Promise<Counters | undefined> {
    for (let ms = 0; ; ms += PAUSE_MS) {
      const reply = await peer.call(MessageType.Counters, {}, 10_000);
      if (reply.status !== Status.Ok) {
        this.#journal.complain('counters', `${id} does not tell its counters: ${reply.status}`);
        return undefined;
      }
      const counters = JSON.parse(reply.json) as Counters;
      const mayWait =
        (counters.slotsAttached > 0 && ms <= SLOTS_WITHIN_MS) ||
        (counters.pagesCommitted > 0 && ms <= UNUSED_WITHIN_MS);
      if (!mayWait) return counters;
      await this.#pause();
    }
  }

  /** What the nodes report about themselves comes back to nothing. */
  async #untilUnused(client: Rack): Promise<void> {
    const isUsed = (one: Member): boolean => one.bytesUsed + one.bytesCommitted > 0;
    for (let ms = 0; ms < UNUSED_WITHIN_MS; ms += PAUSE_MS) {
      const used = (await client.nodes()).filter(isUsed);
      if (used.length === 0) return;
      await this.#pause();
    }
    const used = (await client.nodes()).filter(isUsed);
    const text = used.map(
      (one) => `${one.id}: ${one.bytesUsed} used, ${one.bytesCommitted} committed`,
    );
    this.#journal.complain('bytes-leaked', `everything was freed, yet ${text.join('; ')}`);
  }
}

type Counters = NodeCounts & { readonly fabric: NodeCounts };

const REFUSAL_PAUSE_MS = 2_000;
/** Together longer than an allocation that nobody confirmed is kept. */
const REFUSALS_BELIEVED = 20;

/** A word of a page, by which the page is touched. */
interface PagePlace {
  readonly allocation: Allocation;
  readonly place: number;
}

/** Asks the controller again and again who owns what, for the checker of ownership. */
export async function watchRegions(
  rack: SimulatedRack,
  seen: RegionSeen[],
  everyMs: number,
): Promise<never> {
  const { runtime } = rack.world.program(rack.world.machine('watcher'), 'watcher');
  const endpoint = createEndpoint(runtime, {});
  const control = new Control(runtime, endpoint.peer(rack.controllerAddress), 'watch');
  // Spaces come one by one and are listed by name.
  const client = await connectWhenever(rack, runtime);
  for (;;) {
    await sleep(runtime.timers, everyMs);
    const spaces = await client.spaces().catch(() => []);
    for (const { id } of spaces) {
      const answer = await control.regions(id, runtime.clock.now() + everyMs);
      // An owner of an older copy of the database may be told of, until all nodes were heard.
      if (answer.mayLack) continue;
      for (const { region, nodeId, epoch } of answer.regions) {
        seen.push({ space: id, region, node: nodeId, epoch });
      }
    }
  }
}

async function connectWhenever(
  rack: SimulatedRack,
  runtime: SimulatedProcess['runtime'],
): Promise<Rack> {
  for (;;) {
    try {
      return await connectRack(runtime, rack.url, { timeoutMs: 10_000 });
    } catch {
      await sleep(runtime.timers, 20);
    }
  }
}

/** A window that nobody was told of stays open: it outlives who has opened it. */
function windowsUnheard({ endings }: Journal): number {
  let unheard = 0;
  for (const verb of ['window', 'narrow']) {
    for (const code of ['OutcomeUnknown', 'Unavailable', 'Timeout'])
      unheard += endings.get(`${verb} ${code}`) ?? 0;
  }
  return unheard;
}

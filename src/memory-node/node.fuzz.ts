/**
 * A memory node against an obvious model: random allocations, frees, protections, reads, writes,
 * atomics, reservations, of several clients, with kills in between.
 */
import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { Status } from '../base/status.js';
import { MessageType } from '../wire/messages.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { Harness, PAGE, SPACE } from './testing/harness.js';
import type { TestWorld, WorldParts } from './testing/harness.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

const FRAMES = 12;
const WORDS = 4;

/** A page as a client sees it; its words lie at its start. */
interface ModelPage {
  readonly words: bigint[];
  rights: number;
  isTouched: boolean;
}

class Model {
  readonly allocations = new Map<number, number>();
  readonly pages = new Map<number, ModelPage>();
  readonly nonces = new Map<number, number>();
  readonly unconfirmed = new Set<number>();
  /** By the number of the reservation. */
  readonly reservations = new Map<number, number>();

  get promised(): number {
    return [...this.reservations.values()].reduce((sum, left) => sum + left, 0);
  }

  get touched(): number {
    return [...this.pages.values()].filter((page) => page.isTouched).length;
  }

  private left(reservation: number): number {
    return this.reservations.get(reservation) ?? 0;
  }

  alloc(base: number, count: number, nonce: number): void {
    this.allocations.set(base, count);
    this.nonces.set(base, nonce);
    this.unconfirmed.add(base);
    for (let i = 0; i < count; i++) {
      const page = { words: new Array<bigint>(WORDS).fill(0n), rights: 3, isTouched: false };
      this.pages.set(base + i * PAGE, page);
    }
  }

  free(base: number): void {
    for (let i = 0; i < (this.allocations.get(base) ?? 0); i++) this.pages.delete(base + i * PAGE);
    this.allocations.delete(base);
    this.nonces.delete(base);
    this.unconfirmed.delete(base);
  }

  dropUnconfirmed(): void {
    for (const base of [...this.unconfirmed]) this.free(base);
  }

  /** What a change of the page must end with; touches it if it is made. */
  change(page: ModelPage | undefined, needed: number, reservation = 0): Status {
    if (page === undefined) return Status.NotAllocated;
    if ((page.rights & needed) !== needed) return Status.Denied;
    if (page.isTouched) return Status.Ok;
    const left = this.left(reservation);
    if (left === 0 && this.touched + this.promised >= FRAMES) return Status.NoSpace;
    if (left > 0) this.reservations.set(reservation, left - 1);
    page.isTouched = true;
    return Status.Ok;
  }
}

class Fuzz {
  readonly random: Prng;
  readonly node: Harness;
  readonly model = new Model();

  constructor(seed: number) {
    this.random = new Prng(seed);
    this.node = new Harness({ makeWorld, seed, frames: FRAMES, zeroedFrames: 1 + (seed % 4) });
  }

  below(end: number): number {
    return this.random.u32() % end;
  }

  /** A page that is allocated, or now and then one that is not. */
  anyPage(): number {
    const known = [...this.model.pages.keys()];
    const picked = known[this.below(known.length + 1)];
    return picked ?? 2 ** 30 + this.below(100) * PAGE;
  }

  async step(): Promise<void> {
    const steps = [this.alloc, this.free, this.protect, this.read, this.write, this.atomic];
    const more = [this.read, this.write, this.write, this.atomic, this.reserve];
    const rare = [this.confirm, this.wait];
    const all = [...steps, ...more, ...rare];
    await (all[this.below(all.length)] ?? this.read).call(this);
    if (this.below(60) === 0) await this.restart();
  }

  async alloc(): Promise<void> {
    const count = 1 + this.below(4);
    const nonce = 1 + this.below(3);
    const reply = await this.node.tryAlloc(count, { nonce });
    const isRoom = this.model.pages.size + count <= 2 * FRAMES;
    expect(reply.status).toBe(isRoom ? Status.Ok : Status.NoSpace);
    if (reply.status !== Status.Ok) return;
    for (let i = 0; i < count; i++) {
      expect(this.model.pages.has(reply.address + i * PAGE)).toBe(false);
    }
    this.model.alloc(reply.address, count, nonce);
    if (this.below(4) > 0) await this.confirm();
  }

  /** Of one that waits for it, or of any; by its nonce, or another one. */
  async confirm(): Promise<void> {
    const { model } = this;
    const known = [...(this.below(4) > 0 ? model.unconfirmed : model.nonces).keys()];
    const base = known.at(-1 - this.below(2)) ?? 2 ** 30 + 16000 * PAGE;
    const nonce = this.below(4) > 0 ? model.nonces.get(base) : 1 + this.below(3);
    const reply = await this.node.confirm(base, nonce);
    const isRight = nonce !== undefined && model.nonces.get(base) === nonce;
    expect(reply.status).toBe(isRight ? Status.Ok : Status.NotAllocated);
    if (isRight) model.unconfirmed.delete(base);
  }

  /** What nobody confirmed goes. */
  async wait(): Promise<void> {
    if (this.below(4) > 0) return;
    await this.node.world.run({ forMs: 31_000 });
    this.model.dropUnconfirmed();
  }

  async free(): Promise<void> {
    const bases = [...this.model.allocations.keys()];
    const base = bases[this.below(bases.length + 1)] ?? 2 ** 30 + 16000 * PAGE;
    const isKnown = this.model.allocations.has(base);
    const reply = await this.node.free(base);
    expect(reply.status).toBe(isKnown ? Status.Ok : Status.NotAllocated);
    this.model.free(base);
  }

  async protect(): Promise<void> {
    const address = this.anyPage();
    const count = 1 + this.below(3);
    const pages = Array.from({ length: count }, (_, i) => this.model.pages.get(address + i * PAGE));
    const rights = [0, 1, 3, 3][this.below(4)] ?? 3;
    const request = { space: SPACE, address, bytes: count * PAGE, rights };
    const reply = await this.node.call(MessageType.Protect, request);
    const isWhole = pages.every((page) => page !== undefined);
    expect(reply.status).toBe(isWhole ? Status.Ok : Status.NotAllocated);
    if (isWhole) for (const page of pages) page.rights = rights;
  }

  async read(): Promise<void> {
    const address = this.anyPage();
    const page = this.model.pages.get(address);
    const result = await this.node.data('read', { slot: this.below(3), address, bytes: 8 * WORDS });
    if (page === undefined) expect(result.status).toBe(Status.NotAllocated);
    else if ((page.rights & 1) === 0) expect(result.status).toBe(Status.Denied);
    else expect([...new BigUint64Array(result.bytes.buffer)]).toEqual(page.words);
  }

  async write(): Promise<void> {
    const page = this.anyPage();
    const first = this.below(WORDS);
    const values = BigUint64Array.from({ length: 1 + this.below(WORDS - first) }, () =>
      BigInt(this.random.u32()),
    );
    const known = this.model.pages.get(page);
    const reservation = this.below(3);
    const expected = this.model.change(known, 2, reservation);
    const data = new Uint8Array(values.buffer);
    const address = page + 8 * first;
    const result = await this.node.data('write', { reservation, address, data });
    expect(result.status).toBe(expected);
    if (expected !== Status.Ok) return;
    values.forEach((value, i) => {
      if (known !== undefined) known.words[first + i] = value;
    });
  }

  async atomic(): Promise<void> {
    const page = this.anyPage();
    const word = this.below(WORDS);
    const known = this.model.pages.get(page);
    const old = known?.words[word] ?? 0n;
    const isSwap = this.below(2) === 0;
    const guess = this.below(2) === 0 ? old : BigInt(this.below(3));
    const operand = BigInt(this.random.u32());
    const changes = isSwap ? guess === old && operand !== old : operand !== 0n;
    const isFree = !changes && known?.isTouched !== true && known !== undefined;
    const expected = isFree && known.rights === 3 ? Status.Ok : this.model.change(known, 3);
    const result = await this.node.data(isSwap ? 'compareAndSwap' : 'fetchAndAdd', {
      address: page + 8 * word,
      operands: isSwap ? [guess, operand] : [operand],
    });
    expect(result.status).toBe(expected);
    if (expected !== Status.Ok || known === undefined) return;
    expect(result.value).toBe(old);
    if (isSwap && guess === old) known.words[word] = operand;
    if (!isSwap) known.words[word] = (old + operand) % 2n ** 64n;
  }

  /** Slot 0 writes, so slot 0 reserves. */
  async reserve(): Promise<void> {
    const { model, node } = this;
    const [base, count] = [...model.allocations][this.below(model.allocations.size)] ?? [
      2 ** 30,
      1,
    ];
    const pages = Array.from({ length: count }, (_, i) => model.pages.get(base + i * PAGE));
    const reservation = 1 + this.below(2);
    const request = { reservation, address: base, bytes: count * PAGE };
    const result = await node.data('reserve', request);
    const untouched = pages.filter((page) => page?.isTouched === false).length;
    if (result.status === Status.Ok) {
      expect(result.value).toBe(BigInt(untouched));
      model.reservations.set(reservation, (model.reservations.get(reservation) ?? 0) + untouched);
    } else if (result.status === Status.NoSpace) {
      expect(model.touched + model.promised + untouched).toBeGreaterThan(FRAMES);
    } else {
      expect(pages.some((page) => page === undefined || (page.rights & 2) === 0)).toBe(true);
    }
    if (this.below(2) === 0) return;
    await node.data('unreserve', { reservation });
    model.reservations.delete(reservation);
  }

  async restart(): Promise<void> {
    await this.node.kill();
    await this.node.start();
    this.model.reservations.clear();
    this.model.dropUnconfirmed();
  }
}

test('agrees with the model', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const fuzz = new Fuzz(seed);
    await fuzz.node.start();
    for (let step = 0; step < 300; step++) {
      try {
        await fuzz.step();
        expect(fuzz.node.counters()).toMatchObject({
          framesUsed: fuzz.model.touched,
          framesPromised: fuzz.model.promised,
          pagesCommitted: fuzz.model.pages.size,
        });
      } catch (error) {
        throw new Error(`seed ${seed}, step ${step}`, { cause: error });
      }
    }
  }
});

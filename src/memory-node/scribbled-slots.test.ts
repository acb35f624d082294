/**
 * The slot file is written by clients. Whatever stands there, every call is answered, no byte that
 * was written by a message is lost, and memory that is held back comes back once its holder ends.
 */
import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { Status } from '../base/status.js';
import { SLOTS_MAX, slotWord } from '../disk/slots.js';
import { GENERATION_WORD } from '../disk/table-file.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { MessageType } from '../wire/messages.js';
import { AttachedThread } from './testing/attached-thread.js';
import { Harness, PAGE, SPACE, type TestWorld, type WorldParts } from './testing/harness.js';

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

const FRAMES = 40;
const PAGES = 4;
const word = (value: number): Uint8Array =>
  new Uint8Array(new BigUint64Array([BigInt(value)]).buffer);

class Day {
  readonly node = new Harness({ makeWorld, frames: FRAMES, commitPages: 64 });
  readonly random: Prng;
  readonly threads: AttachedThread[] = [];
  #slots: Int32Array = new Int32Array(0);
  #head: Int32Array = new Int32Array(0);
  /** By address, what a message wrote last. */
  readonly #pages = new Map<number, number>();
  #written = 0;
  #epoch = 0;

  constructor(seed: number) {
    this.random = new Prng(seed);
  }

  below(end: number): number {
    return this.random.u32() % end;
  }

  async begin(): Promise<void> {
    await this.node.start();
    const { slots, words } = this.node.openFiles();
    this.#slots = slots;
    this.#head = words;
    for (let token = 1; token <= 3; token++) {
      this.threads.push(await AttachedThread.start(this.node, token));
    }
    for (let i = 0; i < PAGES; i++) await this.#allocate();
  }

  async #allocate(): Promise<void> {
    await this.#write(await this.node.alloc(1));
  }

  async #write(address: number): Promise<void> {
    const value = ++this.#written;
    const { status } = await this.node.data('write', { address, data: word(value) });
    expect(status).toBe(Status.Ok);
    this.#pages.set(address, value);
  }

  #scribble(): void {
    const generation = Atomics.load(this.#head, GENERATION_WORD);
    const near = (value: number): number => (value + this.below(5) - 2) | 0;
    const say = (at: number): void => {
      const { random } = this;
      const words = [0, near(generation), near(generation - 2 ** 30), random.u32() | 0, -1];
      words.push(1 + this.below(FRAMES), 1 + this.below(64), -(2 ** 31));
      this.#slots[at] = words[this.below(words.length)] as number;
    };
    for (let i = this.below(6); i >= 0; i--) {
      const slot = this.below(10) === 0 ? this.below(SLOTS_MAX) : this.below(4);
      say(slotWord(slot) + this.below(4));
    }
  }

  async #act(): Promise<Status> {
    const { node } = this;
    const [address] = [...this.#pages.keys()].slice(this.below(this.#pages.size));
    if (address === undefined) throw new Error('no page');
    switch (this.below(7)) {
      case 0:
        return (await node.call(MessageType.RevokeWindow, { window: 50, epoch: 1 })).status;
      case 1: {
        const range = { space: SPACE, address, bytes: PAGE };
        const first = await node.call(MessageType.Protect, { ...range, rights: 1 });
        await node.call(MessageType.Protect, { ...range, rights: 3 });
        return first.status;
      }
      case 2:
        return (await node.call(MessageType.Relocate, { space: SPACE, address, bytes: PAGE }))
          .status;
      case 3:
        return (await node.call(MessageType.RaiseLease, { lease: 9, epoch: ++this.#epoch })).status;
      case 4: {
        this.#pages.delete(address);
        const { status } = await node.free(address);
        await this.#allocate();
        return status;
      }
      case 5: {
        await node.kill();
        await node.start();
        return Status.Ok;
      }
      default:
        await this.#write(address);
        return Status.Ok;
    }
  }

  async run(turns: number): Promise<void> {
    const { timers } = this.node.world.supervisor;
    let isOver = false;
    // Also while a call is under way.
    const goOn = (): void => {
      if (isOver) return;
      this.#scribble();
      timers.after(this.below(60), goOn);
    };
    goOn();
    for (let turn = 0; turn < turns; turn++) {
      expect([Status.Ok, Status.Stale, Status.Busy]).toContain(await this.#act());
      for (const [address, value] of this.#pages) {
        const { bytes } = await this.node.data('read', { address, bytes: 8 });
        expect([...bytes]).toEqual([...word(value)]);
      }
    }
    isOver = true;
    for (const thread of this.threads) await thread.process.kill();
    await this.node.until(() => this.node.counters()['slotsAttached'] === 0);
    await this.node.until(() => this.node.counters()['framesResting'] === 0);
    expect(this.node.counters()).toMatchObject({ framesUsed: PAGES, pagesPaused: 0 });
  }
}

test('nonsense in slots holds up nobody, and loses nothing', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const day = new Day(seed);
    await day.begin();
    await day.run(40);
  }
}, 60_000);

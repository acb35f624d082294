// The client that takes away what all others are using: frees, protects, revokes and moves pages,
// and looks whether anything still changes after it was told that nothing can.
import { boardBytes, readBoard } from './board.mjs';
import { below, fail, mustBePassing, persist, pick, sleep } from './helpers.mjs';

const PAGES = 4;
const LOOK_AGAIN_MS = [0, 1, 30, 150];
const OWN = 8;

export class Owning {
  cycles = 0;
  #space;
  #plan;
  #stage;
  #bytes;
  #doomed = 0;
  #window;
  #life = { isEnding: false };

  constructor(space, plan) {
    this.#space = space;
    this.#plan = plan;
    this.#stage = plan.stages[plan.stages.length - 1];
    this.#bytes = PAGES * plan.pageBytes;
  }

  async run(life) {
    this.#life = life;
    await this.#takeOver();
    const cycles = [this.#guard, this.#guard, this.#revoke, this.#revoke, this.#free, this.#move];
    while (!life.isEnding) {
      await pick(cycles).call(this);
      this.cycles += 1;
      await sleep(below(15));
    }
    await this.#free();
  }

  /** What the life before has left. */
  async #takeOver() {
    const found = await persist('the board', () => readBoard(this.#space, this.#stage.board));
    this.#doomed = found.value?.doomed ?? 0;
    await this.#protect('rw');
  }

  #publish() {
    const bytes = boardBytes(this.#doomed, this.#window?.token ?? '');
    return persist('the board', () => this.#space.write(this.#stage.board, bytes));
  }

  #protect(rights) {
    const { guard } = this.#stage;
    return persist('protect', () => this.#space.protect(guard, this.#bytes, rights));
  }

  async #guard() {
    await this.#protect('r');
    await this.#staysTheSame('protected pages', this.#stage.guard);
    await this.#protect('rw');
  }

  async #read(at) {
    return (await persist('read', () => this.#space.read(at, this.#bytes))).value;
  }

  async #staysTheSame(what, at) {
    const before = await this.#read(at);
    await sleep(pick(LOOK_AGAIN_MS));
    const after = await this.#read(at);
    if (before === undefined || after === undefined) return;
    const different = Buffer.compare(before, after) !== 0;
    if (!different) return;
    const byte = before.findIndex((value, i) => value !== after[i]);
    fail(`${what} at ${at} + ${byte} changed from ${before[byte]} to ${after[byte]}`);
  }

  async #revoke() {
    const at = this.#stage.window;
    const window = this.#window;
    if (window !== undefined) {
      await persist('revoke', () => window.revoke(), ['Stale']);
      const own = new Uint8Array(this.#bytes).fill(this.#plan.marks.window | OWN);
      await persist('write', () => this.#space.write(at, own));
      await this.#staysTheSame('what a revoked window covered', at);
      const seen = await this.#read(at);
      const byte = seen?.findIndex((value) => value !== own[0]) ?? -1;
      if (byte >= 0) fail(`a late write of ${seen[byte]} at ${at} + ${byte}, after revoke`);
    }
    const opened = await persist('window', () => this.#space.window(at, this.#bytes, 'rw'));
    this.#window = opened.value;
    await this.#publish();
  }

  async #free() {
    const at = this.#doomed;
    if (at !== 0) {
      await persist('free', () => this.#space.free(at), ['NotAllocated']);
      this.#doomed = 0;
    }
    if (this.#life.isEnding) return void (await this.#publish());
    try {
      this.#doomed = await this.#space.alloc(this.#bytes);
    } catch (error) {
      mustBePassing(error, 'alloc');
    }
    await this.#publish();
  }

  async #move() {
    const { stages, bulk, counters } = this.#plan;
    const at = pick([bulk, this.#stage.guard, stages[0].window, counters[0]]);
    try {
      await this.#space.relocate(at, at === counters[0] ? 8 : this.#bytes);
    } catch (error) {
      mustBePassing(error, 'relocate');
    }
  }
}

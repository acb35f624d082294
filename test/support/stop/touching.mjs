// Reads and writes everything that may be touched, as fast as it can, for the blows to meet: whole
// quarters of a MiB, and single small operations. Every byte says what it was written into.
import { readBoard } from './board.mjs';
import { below, fail, foreignByte, mustBePassing, sleep } from './helpers.mjs';

const PAGES = 4;
const LOOK_MS = 50;
const SMALL_BYTES = 256;
const TOKEN_CODES = ['Invalid', 'NotFound', 'Stale'];

export class Touching {
  touches = 0;
  #rack;
  #space;
  #plan;
  #windows = new Map();
  #areas = [];
  #lookAt = 0;
  #buffers = new Map();
  #into;

  constructor(rack, space, plan) {
    this.#rack = rack;
    this.#space = space;
    this.#plan = plan;
    const bytes = PAGES * plan.pageBytes;
    for (const mark of Object.values(plan.marks)) {
      this.#buffers.set(mark, new Uint8Array(bytes).fill(mark | plan.number));
    }
    this.#into = new Uint8Array(bytes);
  }

  async run(life) {
    while (!life.isEnding) {
      const endMs = performance.now() + 5 + below(15);
      while (performance.now() < endMs && !life.isEnding) await this.#touch();
      await sleep(below(25));
    }
  }

  async #look() {
    const { marks, bulk, stages } = this.#plan;
    const space = this.#space;
    const areas = [];
    for (const { board, guard } of stages) {
      areas.push({ name: 'guard', mark: marks.guard, at: guard, by: space, codes: ['Denied'] });
      try {
        const { doomed, token } = await readBoard(space, board);
        if (doomed > 0) {
          const codes = ['NotAllocated'];
          areas.push({ name: 'doomed', mark: marks.doomed, at: doomed, by: space, codes });
        }
        const by = token === '' ? undefined : await this.#windowOf(token);
        if (by === undefined) continue;
        areas.push({ name: 'window', mark: marks.window, at: by.at, by, codes: ['Stale'] });
      } catch (error) {
        mustBePassing(error, 'reading the board');
      }
    }
    areas.push({ name: 'bulk', mark: marks.bulk, at: bulk, by: space, codes: [] });
    this.#areas = areas;
    this.#lookAt = performance.now() + LOOK_MS;
  }

  async #windowOf(token) {
    const known = this.#windows.get(token);
    if (known !== undefined) return known;
    try {
      const window = await this.#rack.window(token);
      this.#windows.clear();
      this.#windows.set(token, window);
      return window;
    } catch (error) {
      mustBePassing(error, 'opening a window', TOKEN_CODES);
      return undefined;
    }
  }

  async #touch() {
    if (performance.now() >= this.#lookAt) await this.#look();
    // Most of all what the test itself takes away.
    const area = this.#areas[Math.min(below(this.#areas.length), below(this.#areas.length + 1))];
    const choice = below(10);
    try {
      if (choice < 5) await this.#writeAll(area);
      else if (choice < 8) await this.#readAll(area);
      else if (choice < 9) await this.#writeSome(area);
      else await this.#readSome(area);
      this.touches += 1;
    } catch (error) {
      const code = mustBePassing(error, `touching ${area.name} at ${area.at}`, area.codes);
      if (code === 'NotAllocated' || code === 'Stale') this.#lookAt = 0;
      if (code !== 'OutcomeUnknown') await sleep(below(3));
    }
  }

  #pages(area, key, buffer) {
    const { pageBytes } = this.#plan;
    return Array.from({ length: PAGES }, (_, page) => ({
      at: area.at + page * pageBytes,
      [key]: buffer.subarray(page * pageBytes, (page + 1) * pageBytes),
    }));
  }

  #writeAll(area) {
    return area.by.writeMany(this.#pages(area, 'from', this.#buffers.get(area.mark)));
  }

  async #readAll(area) {
    const into = this.#into;
    this.#into = undefined;
    try {
      const target = into ?? new Uint8Array(PAGES * this.#plan.pageBytes);
      await area.by.readMany(this.#pages(area, 'into', target));
      this.#check(area, target, 0);
    } finally {
      this.#into = into;
    }
  }

  #writeSome(area) {
    const buffer = this.#buffers.get(area.mark);
    const length = 1 + below(SMALL_BYTES);
    return area.by.write(area.at + below(buffer.length - length), buffer.subarray(0, length));
  }

  async #readSome(area) {
    const from = below(PAGES * this.#plan.pageBytes - SMALL_BYTES);
    this.#check(area, await area.by.read(area.at + from, 1 + below(SMALL_BYTES)), from);
  }

  #check(area, bytes, from) {
    const at = foreignByte(bytes, area.mark);
    if (at < 0) return;
    fail(`read the byte ${bytes[at]} in ${area.name} at ${area.at} + ${from + at}`);
  }
}

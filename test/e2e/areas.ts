// Clients in processes of their own write rising numbers, and tell what was acknowledged. Whatever
// is killed, what was acknowledged must be there, or be named as lost where its memory is gone.
// Everything is judged from outside.
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { connect, type MemrackError, type Rack, type RemoteSpace } from '../../src/apps/library.js';
import type { Prng } from '../../src/base/prng.js';
import { ROOT } from '../support/cli.js';
import { until } from '../support/rack.js';

/** Of the clients of the areas, in turn. */
const LINKS = ['auto', 'udp', 'tcp'] as const;
const CLIENT = join(ROOT, 'test/support/kill-client.mjs');
const SLOTS = 8;
const SLOT_BYTES = 4096 + 8;
const AREA_BYTES = SLOTS * SLOT_BYTES;
const BACK_WITHIN_MS = 30_000;

export interface AreaTotals {
  acknowledged: number;
  unknown: number;
  checked: number;
  lost: number;
}

export interface AreasOptions {
  readonly url: string;
  readonly space: string;
  readonly kind?: 'dram' | 'persistent';
  readonly count: number;
  /** How often memory has been lost so far: an area may be lost only if that was once more. */
  readonly losses: () => number;
  readonly backWithinMs?: number;
}

/** Memory that one client writes into, and what is known of it. */
class Area {
  readonly at: number;
  readonly acknowledged = new Array<number>(SLOTS).fill(0);
  readonly attempted = new Array<number>(SLOTS).fill(0);
  isLost = false;
  child: ChildProcess | undefined;
  /** How often memory had been lost when it was allocated. */
  readonly born: number;

  constructor(at: number, born: number) {
    this.at = at;
    this.born = born;
  }
}

export class Areas {
  readonly totals: AreaTotals = { acknowledged: 0, unknown: 0, checked: 0, lost: 0 };
  readonly #options: AreasOptions;
  readonly #backWithinMs: number;
  #areas: Area[] = [];
  #client: Rack | undefined;
  #space: RemoteSpace | undefined;
  #isEnding = false;

  constructor(options: AreasOptions) {
    this.#options = options;
    this.#backWithinMs = options.backWithinMs ?? BACK_WITHIN_MS;
  }

  async start(): Promise<void> {
    const { url, space, kind = 'dram', count } = this.#options;
    this.#client = await connect(url, { timeoutMs: 3000 });
    this.#space = await this.#client.space(space, { create: true, kind });
    for (let i = 0; i < count; i++) await this.#addArea();
  }

  get space(): RemoteSpace {
    if (this.#space === undefined) throw new Error('the areas were not started');
    return this.#space;
  }

  /** A new area with a client; the rack may be busy healing. */
  async #addArea(): Promise<void> {
    const born = this.#options.losses();
    const at = await until(this.#backWithinMs, () =>
      this.space.alloc(AREA_BYTES).catch(() => undefined),
    );
    if (this.#options.kind === 'persistent') await until(this.#backWithinMs, () => this.#touch(at));
    const area = new Area(at, born);
    this.#areas.push(area);
    this.#startClient(area);
  }

  /**
   * A page that nobody has flushed yet may be gone with its node. Once it has its place on the disk
   * what is written there outlives every kill: the system has it.
   */
  async #touch(at: number): Promise<true | undefined> {
    try {
      await this.space.write(at, new Uint8Array(AREA_BYTES));
      await this.space.flush(at, AREA_BYTES);
      return true;
    } catch {
      return undefined;
    }
  }

  #startClient(area: Area): void {
    const { url, space } = this.#options;
    const start = Math.max(...area.attempted) + 1;
    const link = LINKS[this.#areas.indexOf(area) % LINKS.length];
    const words = [url, space, area.at, SLOTS, start, link].map(String);
    const stdio: ('ignore' | 'pipe' | 'inherit' | 'ipc')[] = ['ignore', 'pipe', 'inherit', 'ipc'];
    const child = fork(CLIENT, words, { cwd: ROOT, stdio });
    area.child = child;
    let rest = '';
    child.stdout?.on('data', (text: Buffer) => {
      const lines = (rest + text.toString()).split('\n');
      // A line without its end was cut by the kill: what it tells did not happen outside.
      rest = lines.pop() ?? '';
      for (const line of lines) this.#heard(area, line);
    });
    child.on('exit', () => {
      if (area.child === child) area.child = undefined;
    });
  }

  #heard(area: Area, line: string): void {
    const [what, slotText, valueText] = line.split(' ');
    const slot = Number(slotText);
    const value = Number(valueText);
    if (what === 't') area.attempted[slot] = value;
    else if (what === 'a') {
      area.acknowledged[slot] = value;
      this.totals.acknowledged += 1;
    } else if (what === 'u') this.totals.unknown += 1;
  }

  /** Kills one of the clients. */
  killOne(prng: Prng): void {
    const running = this.#areas.filter(({ child }) => child !== undefined);
    running[prng.below(Math.max(1, running.length))]?.child?.kill('SIGKILL');
  }

  /** Every slot holds something between what was acknowledged and what was attempted. */
  async check(): Promise<void> {
    for (const area of this.#areas) {
      for (let slot = 0; slot < SLOTS && !area.isLost; slot++) await this.#checkSlot(area, slot);
    }
  }

  async #checkSlot(area: Area, slot: number): Promise<void> {
    const least = area.acknowledged[slot] ?? 0;
    const bytes = await this.#read(area, slot);
    if (bytes === undefined) return;
    const value = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    // What was written meanwhile is told before it is written, but heard a little later.
    const isHeard = await until(this.#backWithinMs, () =>
      value <= (area.attempted[slot] ?? 0) ? true : undefined,
    ).catch(() => false);
    this.totals.checked += 1;
    if (value >= least && isHeard) return;
    const range = `${least} to ${area.attempted[slot]}`;
    throw new Error(`slot ${slot} at ${area.at} holds ${value}, not one of ${range}`);
  }

  /** The bytes of a slot, once its node is back; nothing when its memory is gone for good. */
  #read(area: Area, slot: number): Promise<Uint8Array | undefined> {
    let last = '';
    return until(this.#backWithinMs, async () => {
      try {
        return { bytes: await this.space.read(area.at + slot * SLOT_BYTES, 8) };
      } catch (error) {
        const { code, message } = error as MemrackError;
        last = message;
        if (code !== 'DataLost') return undefined;
        if (area.born === this.#options.losses()) throw new Error('lost without a cause');
        area.isLost = true;
        this.totals.lost += 1;
        return { bytes: undefined };
      }
    }).then(
      ({ bytes }) => bytes,
      (error: unknown) => {
        throw new Error(`slot ${slot} at ${area.at}: ${(error as Error).message}: ${last}`);
      },
    );
  }

  /** Clients for areas without one, and areas for those that are lost. */
  async replace(): Promise<void> {
    for (const area of this.#areas.filter(({ isLost }) => isLost)) area.child?.kill('SIGKILL');
    this.#areas = this.#areas.filter(({ isLost }) => !isLost);
    for (const area of this.#areas) if (area.child === undefined) this.#startClient(area);
    while (this.#areas.length < this.#options.count) await this.#addArea();
  }

  /** Ends the clients, checks once more in peace, and gives the memory back. */
  async finish(): Promise<void> {
    if (this.#isEnding) return;
    this.#isEnding = true;
    const children = this.#areas.flatMap(({ child }) => (child === undefined ? [] : [child]));
    const ended = children.map((child) => new Promise((resolve) => child.once('close', resolve)));
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(ended);
    await this.check();
    for (const area of this.#areas) {
      if (!area.isLost) await this.space.free(area.at);
    }
    await this.#client?.close();
  }

  /** Without looking at anything, after a failure. */
  async abandon(): Promise<void> {
    for (const { child } of this.#areas) child?.kill('SIGKILL');
    await this.#client?.close();
  }
}

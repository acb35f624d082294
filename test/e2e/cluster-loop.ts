// The cluster loop: processes of a rack on machines of their own are killed, half of them while a
// region moves, and machines are cut off, while clients write. Nothing that was acknowledged may
// be gone but with memory whose supervisor was killed, and nothing on a disk at all.
import type { MemrackError } from '../../src/apps/library.js';
import { Prng } from '../../src/base/prng.js';
import type { Cluster } from '../support/cluster.js';
import { until } from '../support/rack.js';
import { Areas } from './areas.js';

/** Of nodes of the cluster in DRAM; the one behind them is on a disk. */
export const NODES = 4;
const DISK = `node-${NODES + 1}`;
const SPACE = 'cluster-loop';
const BALLAST_BYTES = 16 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const BACK_WITHIN_MS = 90_000;
const REGION_BYTES = 2 ** 30;
const JSON_HEADERS = { 'content-type': 'application/json' };

const VICTIMS = [
  ['serving', 4],
  ['source', 3],
  ['target', 3],
  ['controller', 3],
  ['supervisor', 2],
  ['client', 2],
  ['disk serving', 1],
  ['disk supervisor', 1],
] as const;
type Victim = (typeof VICTIMS)[number][0];
const CUTS = ['controller', 'node-1', 'node-2', 'node-3', 'node-4', DISK];

interface Move {
  readonly from: string;
  readonly to: string;
  /** Of the answer; 0 where none came, undefined until then. */
  status: number | undefined;
  readonly ended: Promise<void>;
}

export class ClusterLoop {
  readonly kills: Record<string, number> = {};
  killed = 0;
  killedDuringMoves = 0;
  cuts = 0;
  /** How moves ended, by the status of the answer. */
  readonly moves: Record<string, number> = {};
  readonly #cluster: Cluster;
  readonly #prng: Prng;
  readonly #areas: Areas;
  readonly #diskAreas: Areas;
  #losses = 0;
  #ballast: { readonly at: number; readonly born: number } | undefined;

  constructor(cluster: Cluster, seed: number) {
    this.#cluster = cluster;
    this.#prng = new Prng(seed);
    const { url } = cluster;
    const backWithinMs = BACK_WITHIN_MS;
    const losses = () => this.#losses;
    this.#areas = new Areas({ url, space: SPACE, count: 3, losses, backWithinMs });
    this.#diskAreas = new Areas({
      url,
      space: `${SPACE}-disk`,
      kind: 'persistent',
      count: 1,
      losses: () => 0,
      backWithinMs,
    });
  }

  get told(): string {
    const sum = (name: 'acknowledged' | 'unknown' | 'checked' | 'lost'): number =>
      this.#areas.totals[name] + this.#diskAreas.totals[name];
    return (
      `${this.killed} kills (${words(this.kills)}), ${this.killedDuringMoves} during moves, ` +
      `${this.cuts} cuts; moves by status: ${words(this.moves)}; ${sum('acknowledged')} ` +
      `acknowledged, ${sum('unknown')} unknown, ${sum('checked')} checked, ${sum('lost')} lost`
    );
  }

  get acknowledged(): number {
    return this.#areas.totals.acknowledged + this.#diskAreas.totals.acknowledged;
  }

  async start(): Promise<void> {
    await this.#untilServing();
    await this.#areas.start();
    await this.#diskAreas.start();
    await this.#load();
  }

  /** One kill; in three rounds of four while a region moves, in the fourth with a cut. */
  async round(number: number): Promise<string> {
    await pause(100 + this.#prng.below(300));
    const move = number % 4 !== 3 ? await this.#beginMove() : undefined;
    if (move !== undefined) await pause(this.#prng.below(80));
    const victim = this.#pick(move !== undefined);
    const isDuring = move !== undefined && move.status === undefined;
    const isHit = this.#kill(victim, move);
    if (isHit) this.killed += 1;
    if (isHit && isDuring) this.killedDuringMoves += 1;
    if (isHit) this.kills[victim] = (this.kills[victim] ?? 0) + 1;
    const cut = number % 4 === 3 ? await this.#cut() : '';
    await move?.ended;
    if (move !== undefined) this.moves[`${move.status}`] = (this.moves[`${move.status}`] ?? 0) + 1;
    await this.#areas.check();
    await this.#diskAreas.check();
    await this.#areas.replace();
    await this.#diskAreas.replace();
    await this.#checkBallast();
    return `${victim}${isDuring ? ' in a move' : ''}${isHit ? '' : ' (away)'}${cut}`;
  }

  #pick(isMoving: boolean): Victim {
    const able = VICTIMS.filter(([name]) => isMoving || (name !== 'source' && name !== 'target'));
    let left = this.#prng.below(able.reduce((sum, [, weight]) => sum + weight, 0));
    for (const [name, weight] of able) {
      left -= weight;
      if (left < 0) return name;
    }
    return 'serving';
  }

  /** False where the process was not there at that moment. */
  #kill(victim: Victim, move: Move | undefined): boolean {
    if (victim === 'client') {
      this.#areas.killOne(this.#prng);
      return true;
    }
    const any = `node-${1 + this.#prng.below(NODES)}`;
    const pid = this.#pidOf(victim, any, move);
    if (pid === undefined) return false;
    if (victim === 'supervisor') this.#losses += 1;
    process.kill(pid, 'SIGKILL');
    return true;
  }

  #pidOf(victim: Victim, any: string, move: Move | undefined): number | undefined {
    const cluster = this.#cluster;
    if (victim === 'controller') return cluster.pidOf('controller');
    if (victim === 'supervisor') return cluster.pidOf(any);
    if (victim === 'disk supervisor') return cluster.pidOf(DISK);
    if (victim === 'disk serving') return cluster.servingPidOf(DISK);
    if (victim === 'source') return cluster.servingPidOf(move?.from ?? any);
    if (victim === 'target') return cluster.servingPidOf(move?.to ?? any);
    return cluster.servingPidOf(any);
  }

  async #cut(): Promise<string> {
    const name = CUTS[this.#prng.below(CUTS.length)] as string;
    this.cuts += 1;
    this.#cluster.setPlugged(name, false);
    await pause(200 + this.#prng.below(3000));
    this.#cluster.setPlugged(name, true);
    return ` and ${name} cut off`;
  }

  /** Of the region with the ballast, to a node that serves. */
  async #beginMove(): Promise<Move | undefined> {
    const region = Math.floor((this.#ballast?.at ?? 0) / REGION_BYTES);
    // Of an earlier round somebody may still be on the way back.
    const rows = await until(BACK_WITHIN_MS, () =>
      this.#ask<{ region: number; node: string }[]>(`regions?space=${SPACE}`),
    );
    const nodes = (await this.#ask<{ id: string; state: string }[]>('nodes')) ?? [];
    const from = rows.find((row) => row.region === region)?.node;
    const others = nodes.filter(
      ({ id, state }) => id !== from && id !== DISK && state === 'serving',
    );
    if (from === undefined || others.length === 0) return undefined;
    const to = (others[this.#prng.below(others.length)] as { id: string }).id;
    const body = JSON.stringify({ space: SPACE, region, to });
    const request = { method: 'POST', body, headers: JSON_HEADERS };
    const ended = fetch(`${this.#cluster.http}/v1/moves`, request).then(
      (answer) => void (move.status = answer.status),
      () => void (move.status = 0),
    );
    const move: Move = { from, to, status: undefined, ended };
    return move;
  }

  async #ask<T>(path: string): Promise<T | undefined> {
    try {
      const signal = AbortSignal.timeout(3000);
      const answer = await fetch(`${this.#cluster.http}/v1/${path}`, { signal });
      return answer.ok ? ((await answer.json()) as T) : undefined;
    } catch {
      return undefined;
    }
  }

  async #untilServing(): Promise<void> {
    await until(BACK_WITHIN_MS, async () => {
      const nodes = await this.#ask<{ state: string }[]>('nodes');
      const serving = (nodes ?? []).filter(({ state }) => state === 'serving');
      return serving.length === NODES + 1 ? true : undefined;
    });
  }

  /** New ballast, every word its own address. */
  async #load(): Promise<void> {
    const { space } = this.#areas;
    const made = await until(BACK_WITHIN_MS, async () => {
      const born = this.#losses;
      try {
        const at = await space.alloc(BALLAST_BYTES);
        for (let done = 0; done < BALLAST_BYTES; done += CHUNK_BYTES) {
          await space.write(at + done, chunk(at + done));
        }
        return { at, born };
      } catch {
        // A node is on its way back. What was allocated stays so: the rack is a new one each time.
        return undefined;
      }
    });
    this.#ballast = made;
  }

  async #checkBallast(): Promise<void> {
    const { at, born } = this.#ballast ?? { at: 0, born: 0 };
    for (let done = 0; done < BALLAST_BYTES; done += CHUNK_BYTES) {
      const bytes = await until(BACK_WITHIN_MS, () => this.#read(at + done, born));
      if (bytes === 'lost') {
        await this.#load();
        return;
      }
      if (Buffer.compare(bytes, chunk(at + done)) !== 0) {
        throw new Error(`the ballast at ${at + done} has changed`);
      }
    }
  }

  async #read(at: number, born: number): Promise<Uint8Array | 'lost' | undefined> {
    try {
      return await this.#areas.space.read(at, CHUNK_BYTES);
    } catch (error) {
      if ((error as MemrackError).code !== 'DataLost') return undefined;
      if (born === this.#losses) throw new Error('the ballast is lost without a cause');
      return 'lost';
    }
  }

  async finish(): Promise<void> {
    await this.#untilServing();
    await this.#checkBallast();
    await this.#areas.finish();
    await this.#diskAreas.finish();
    for (const name of [SPACE, `${SPACE}-disk`]) {
      const url = `${this.#cluster.http}/v1/spaces/${name}`;
      const answer = await fetch(url, { method: 'DELETE', headers: JSON_HEADERS });
      if (!answer.ok) throw new Error(`${name} cannot be removed: ${await answer.text()}`);
    }
    await this.#untilUnused();
  }

  /** Of the spaces nothing stays behind in any node. */
  async #untilUnused(): Promise<void> {
    let used = '';
    await until(BACK_WITHIN_MS, async () => {
      const nodes = await this.#ask<{ id: string; bytesUsed: number }[]>('nodes');
      used = (nodes ?? []).map(({ id, bytesUsed }) => `${id} ${bytesUsed}`).join(', ');
      return nodes?.every(({ bytesUsed }) => bytesUsed === 0) === true ? true : undefined;
    }).catch(() => {
      throw new Error(`memory stays in use after the spaces are gone: ${used}`);
    });
  }

  async abandon(): Promise<void> {
    await this.#areas.abandon();
    await this.#diskAreas.abandon();
  }
}

function chunk(at: number): Uint8Array {
  const values = BigUint64Array.from({ length: CHUNK_BYTES / 8 }, (_, i) => BigInt(at + 8 * i));
  return new Uint8Array(values.buffer);
}

function words(sums: Readonly<Record<string, number>>): string {
  const parts = Object.entries(sums).map(([name, sum]) => `${name} ${sum}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

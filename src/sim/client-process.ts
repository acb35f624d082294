/**
 * The client processes of a rack: each runs the real client library on a simulated machine and one
 * program of the workload. A killed one never finishes what it had under way; another process
 * takes its place.
 */

import type { Prng } from '../base/prng.js';
import { connectRack, type Rack } from '../client/rack.js';
import { sleep } from '../runtime/clock.js';
import type { SimulatedProcess } from '../runtime/simulated/world.js';
import type { Journal } from './journal.js';
import { ObservedFiles } from './observed-files.js';
import { endedBy, type NoteOutcome, ObservedSpace } from './observed-space.js';
import type { SimulatedRack } from './rack.js';
import { Board, type ClientProgram, type Workload } from './workloads/workload.js';

interface Running {
  readonly number: number;
  readonly process: SimulatedProcess;
  isDone: boolean;
}

const REPLACED_AFTER_MS = 30;

export class ClientProcesses {
  readonly board = new Board();
  readonly #rack: SimulatedRack;
  readonly #journal: Journal;
  readonly #workload: Workload;
  readonly #prng: Prng;
  readonly #running: Running[] = [];
  readonly #timeoutMs: number;
  #stepsLeft: number;
  #nextNumber = 1;
  #toStart = 0;

  constructor(rack: SimulatedRack, journal: Journal, workload: Workload) {
    this.#rack = rack;
    this.#journal = journal;
    this.#workload = workload;
    this.#stepsLeft = workload.steps;
    this.#prng = rack.world.prng.fork('clients');
    this.#timeoutMs = this.#prng.pick([400, 2_000, 10_000]);
  }

  startAll(): void {
    for (let i = 0; i < this.#rack.shape.clients; i++) this.#start(i + 1);
  }

  /** All that were started and not killed have finished their programs. */
  get areDone(): boolean {
    return this.#toStart === 0 && this.#running.every((one) => one.isDone || !one.process.alive);
  }

  /** How much of the work is done, from 0 to 1. */
  get progress(): number {
    return 1 - Math.max(0, this.#stepsLeft) / this.#workload.steps;
  }

  /** Those that have not, for the report of a run that never ends. */
  get unfinished(): string {
    const open = this.#running.filter((one) => !one.isDone && one.process.alive);
    return open.map((one) => `client ${one.number}`).join(', ');
  }

  #start(place: number): void {
    const number = this.#nextNumber++;
    this.#journal.clients = number;
    const machine = this.#rack.world.machine(`client-${place}`);
    const process = this.#rack.world.program(machine, `client-${number}`);
    const running: Running = { number, process, isDone: false };
    this.#running.push(running);
    const program = this.#program(running);
    const whole = this.#workload.run(program).then(() => {
      running.isDone = true;
    });
    // What a program throws is a bug: of the library, or of the program.
    whole.catch((error: unknown) => this.#rack.world.fail(error));
  }

  #program({ number, process }: Running): ClientProgram {
    const { runtime } = process;
    const { shape, frames, world } = this.#rack;
    let rack: Promise<Rack> | undefined;
    const noteOutcome: NoteOutcome = (startedMs, outcome) => {
      world.noteOutcome(process, startedMs, outcome);
    };
    const noting = { nowMs: () => world.nowMs, noteOutcome };
    return {
      number,
      prng: this.#prng.fork(`client ${number}`),
      journal: this.#journal,
      board: this.board,
      pageBytes: shape.pageBytes,
      frames,
      open: async (name) => {
        rack ??= this.#connect(process);
        const space = await this.#openSpace(await rack, name, runtime.timers);
        return new ObservedSpace({
          name,
          client: number,
          pageBytes: shape.pageBytes,
          space,
          journal: this.#journal,
          ...noting,
        });
      },
      files: async () => {
        rack ??= this.#connect(process);
        const { files } = await rack;
        return new ObservedFiles({ client: number, files, journal: this.#journal, ...noting });
      },
      sleep: (ms) => sleep(runtime.timers, ms),
      step: () => {
        this.#stepsLeft -= 1;
        return this.#stepsLeft >= 0;
      },
    };
  }

  async #connect(process: SimulatedProcess): Promise<Rack> {
    const { runtime } = process;
    for (;;) {
      try {
        return await connectRack(runtime, this.#rack.url, { timeoutMs: this.#timeoutMs });
      } catch (error) {
        endedBy(error);
        await sleep(runtime.timers, 20);
      }
    }
  }

  async #openSpace(
    rack: Rack,
    name: string,
    timers: SimulatedProcess['runtime']['timers'],
  ): Promise<Awaited<ReturnType<Rack['space']>>> {
    for (;;) {
      try {
        return await rack.space(name, { create: true });
      } catch (error) {
        const { code } = endedBy(error);
        if (!PASSING.has(code)) throw error;
        await sleep(timers, 20);
      }
    }
  }

  /** One that is still at work. */
  pick(prng: Prng): SimulatedProcess | undefined {
    const open = this.#running.filter((one) => !one.isDone && one.process.alive);
    return open.length === 0 ? undefined : prng.pick(open).process;
  }

  killOne(prng: Prng): void {
    const process = this.pick(prng);
    if (process === undefined) return;
    this.#rack.world.kill(process);
    this.#journal.wasClientKilled = true;
    this.#journal.note(`${process.role} killed`);
    const place = Number(process.machine.name.slice('client-'.length));
    this.#toStart += 1;
    this.#rack.world.after(REPLACED_AFTER_MS, () => {
      this.#toStart -= 1;
      this.#start(place);
    });
  }
}

const PASSING: ReadonlySet<string> = new Set(['Unavailable', 'Timeout', 'OutcomeUnknown', 'Busy']);

/** The locks of one space that one client uses, each once: what is known of a word is kept. */

import type { Runtime } from '../../runtime/runtime.js';
import { Agenda } from './agenda.js';
import { Lock } from './lock.js';
import type { LockMemory, LockParts } from './memory.js';

/** More than these forget what they saw; they work all the same. */
const LOCKS_MAX = 4096;

export class Locks {
  readonly #runtime: Runtime;
  readonly #memoryOf: () => LockMemory;
  readonly #agenda: Agenda;
  readonly #isOwnAgenda: boolean;
  #parts: LockParts | undefined;
  readonly #locks = new Map<number, Lock>();

  /** `agenda`: that of the client, which closes it. `memoryOf` is asked by the first lock. */
  constructor(runtime: Runtime, memoryOf: () => LockMemory, agenda?: Agenda) {
    this.#runtime = runtime;
    this.#memoryOf = memoryOf;
    this.#isOwnAgenda = agenda === undefined;
    this.#agenda = agenda ?? new Agenda(runtime.clock, runtime.timers);
  }

  at(at: number): Lock {
    let lock = this.#locks.get(at);
    if (lock !== undefined) return lock;
    this.#parts ??= this.#newParts();
    lock = new Lock(this.#parts, at);
    if (this.#locks.size >= LOCKS_MAX) {
      const [oldest] = this.#locks.keys();
      if (oldest !== undefined) this.#locks.delete(oldest);
    }
    this.#locks.set(at, lock);
    return lock;
  }

  close(): void {
    if (this.#isOwnAgenda) this.#agenda.close();
  }

  #newParts(): LockParts {
    const { clock, timers, entropy } = this.#runtime;
    return { clock, timers, entropy, agenda: this.#agenda, memory: this.#memoryOf() };
  }
}

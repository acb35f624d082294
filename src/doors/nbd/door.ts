/**
 * The NBD door: takes connections, for as many as its limits allow.
 *
 *     const door = new NbdDoor({ runtime, exports });
 *     const listener = await door.listen('tcp://127.0.0.1:10809');
 *     ...
 *     await door.stop();
 */

import type { Address, Listener, Stream, StreamHandler } from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Exports } from '../backend.js';
import { type NbdCounters, newCounters } from './counters.js';
import { checkLimits, NBD_LIMITS, type NbdLimits } from './limits.js';
import { BufferPool } from './pool.js';
import { type NbdServing, NbdSession, type NbdTls } from './session.js';

export interface NbdDoorOptions {
  readonly runtime: Pick<Runtime, 'timers' | 'clock' | 'memory' | 'log' | 'network'>;
  readonly exports: Exports;
  /** Default: off. */
  readonly tls?: NbdTls;
  readonly limits?: Partial<NbdLimits>;
}

/** Of a connection that is closed at once. */
const REFUSED: StreamHandler = {
  received: (_stream, _input, start, end) => end - start,
  drained: () => undefined,
  closed: () => undefined,
};

export class NbdDoor {
  readonly counters: NbdCounters = newCounters();
  readonly pool = new BufferPool();
  readonly #runtime: NbdDoorOptions['runtime'];
  readonly #serving: NbdServing;
  readonly #listeners: Listener[] = [];
  #hasEmptied: (() => void) | undefined;

  constructor({ runtime, exports, tls = { mode: 'off' }, limits = {} }: NbdDoorOptions) {
    this.#runtime = runtime;
    const { counters, pool } = this;
    this.#serving = {
      runtime,
      exports,
      tls,
      limits: checkLimits({ ...NBD_LIMITS, ...limits }),
      counters,
      pool,
      sessions: new Set(),
      isStopping: false,
      left: (session) => this.#left(session),
    };
  }

  /** Connections, those among them that have ended and have something under way. */
  get sessions(): number {
    return this.#serving.sessions.size;
  }

  /** Rejects with a `NetworkError`. */
  async listen(address: Address): Promise<Listener> {
    const { network } = this.#runtime;
    const listener = await network.listen(address, (stream) => this.accept(stream));
    this.#listeners.push(listener);
    return listener;
  }

  /** The handler of a connection that was accepted. */
  accept(stream: Stream): StreamHandler {
    const { sessions, limits, isStopping } = this.#serving;
    if (isStopping || sessions.size >= limits.connections) {
      this.counters.connectionsRefused++;
      stream.close('too many connections');
      return REFUSED;
    }
    this.counters.connections++;
    const session = new NbdSession(this.#serving, stream);
    sessions.add(session);
    return session;
  }

  /**
   * Takes no more connections, answers what is under way, and closes; after `stopMs` without
   * answers. Resolves when no backend has anything to do for a client any more. Idempotent.
   */
  async stop(): Promise<void> {
    const { sessions, limits } = this.#serving;
    this.#serving.isStopping = true;
    for (const listener of this.#listeners.splice(0)) await listener.close();
    for (const session of [...sessions]) session.stop();
    if (sessions.size === 0) return;
    const emptied = new Promise<void>((resolve) => (this.#hasEmptied = resolve));
    const timer = this.#runtime.timers.after(limits.stopMs, () => {
      for (const session of [...sessions]) session.close('the server has stopped');
    });
    await emptied;
    timer.cancel();
  }

  #left(session: NbdSession): void {
    this.#serving.sessions.delete(session);
    if (this.#serving.sessions.size === 0) this.#hasEmptied?.();
  }
}

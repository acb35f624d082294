/** A copy, for what is moved in the background: in steps that leave room for others. */

import { Status } from '../base/status.js';
import type { BackgroundWindow } from '../fabric/background-window.js';
import type { CompletionSink } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import type { Copy, CopyVerbs } from '../replication/copy.js';
import type { Clock } from '../runtime/clock.js';

export class SteppedCopy implements CopyVerbs {
  readonly #copy: Copy;
  readonly #window: BackgroundWindow;
  readonly #clock: Pick<Clock, 'now'>;

  constructor(copy: Copy, window: BackgroundWindow, clock: Pick<Clock, 'now'>) {
    this.#copy = copy;
    this.#window = window;
    this.#clock = clock;
  }

  /** Each step has as long as all of it would have: to wait for its turn is no failure. */
  read(
    at: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const stepMs = deadline - this.#clock.now();
    const steps = this.#steps(bytes, stepMs, (from, part, ended, until) => {
      this.#copy.read(at + from, into, start + from, part, ended, 0, until);
    });
    void steps.then((status) => sink.completed(token, status, outcomeOf(status), 0, 0));
  }

  /** As `read`. After a failure some of it may be written. */
  write(
    at: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const stepMs = deadline - this.#clock.now();
    const steps = this.#steps(bytes, stepMs, (begin, part, ended, until) => {
      this.#copy.write(at + begin, from, start + begin, part, ended, 0, until);
    });
    void steps.then((status) => sink.completed(token, status, outcomeOf(status), 0, 0));
  }

  async #steps(
    bytes: number,
    stepMs: number,
    begin: (from: number, bytes: number, sink: CompletionSink, deadline: number) => void,
  ): Promise<Status> {
    for (let done = 0; done < bytes; ) {
      const status = await this.#window.step(bytes - done, (part) => {
        return new Promise<Status>((resolve) => {
          const sink = { completed: (_token: number, ended: Status) => resolve(ended) };
          begin(done, part, sink, this.#clock.now() + stepMs);
          done += part;
        });
      });
      if (status !== Status.Ok) return status;
    }
    return Status.Ok;
  }
}

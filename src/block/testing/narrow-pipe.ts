/** A pipe with room for any queue, and copies of slabs behind it, without their bytes. */

import { Status } from '../../base/status.js';
import { BackgroundWindow } from '../../fabric/background-window.js';
import { type CompletionSink, NOT_NOW } from '../../fabric/link.js';
import { outcomeOf } from '../../fabric/verbs.js';
import type { Copy, CopyVerbs } from '../../replication/copy.js';
import type { World } from '../../replication/testing/slab-world.js';
import { SteppedCopy } from '../stepped-copy.js';

/** Of a message without data. */
const HEADER_BYTES = 64;

/** One direction, first in, first out. */
export class Pipe {
  readonly #world: World;
  readonly #bytesPerMs: number;
  #freeMs = 0;

  constructor(world: World, bytesPerMs: number) {
    this.#world = world;
    this.#bytesPerMs = bytesPerMs;
  }

  pass(bytes: number, then: () => void): void {
    this.#freeMs = Math.max(this.#freeMs, this.#world.nowMs) + bytes / this.#bytesPerMs;
    this.#world.at(this.#freeMs, then);
  }
}

export interface Way {
  readonly up: Pipe;
  readonly down: Pipe;
  /** There and back, in an empty pipe. */
  readonly tripMs: number;
}

/** What is asked for through the pipe is done, and answered through it. */
export class CopyBehindPipe implements Copy {
  readonly id = 1;
  readonly inBackground: CopyVerbs;
  readonly #world: World;
  readonly #way: Way;

  constructor(world: World, way: Way, window = new BackgroundWindow(world)) {
    this.#world = world;
    this.#way = way;
    this.inBackground = new SteppedCopy(this, window, world);
  }

  failed = (): void => undefined;
  readNow = (): number => NOT_NOW;
  writeNow = (): number => NOT_NOW;
  mayWriteNow = (): boolean => false;

  read(
    _at: number,
    _into: Uint8Array,
    _start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    this.#ask(HEADER_BYTES, HEADER_BYTES + bytes, sink, token);
  }

  write(
    _at: number,
    _from: Uint8Array,
    _start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    this.#ask(HEADER_BYTES + bytes, HEADER_BYTES, sink, token);
  }

  #ask(bytes: number, answerBytes: number, sink: CompletionSink, token: number): void {
    const { up, down, tripMs } = this.#way;
    const jitterMs = tripMs * this.#world.prng.fraction() * 0.2;
    up.pass(bytes, () => {
      this.#world.after(tripMs + jitterMs, () => {
        down.pass(answerBytes, () => sink.completed(token, Status.Ok, outcomeOf(Status.Ok), 0, 0));
      });
    });
  }
}

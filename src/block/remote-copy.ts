/**
 * A copy at a memory node, through a window that is bound to the epoch of the device's lease. The
 * window is opened when it is first needed, and anew when the node says that it knows it no more.
 */

import { Status } from '../base/status.js';
import type { BackgroundWindow } from '../fabric/background-window.js';
import { type CompletionSink, type Link, NOT_NOW, type Window } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import { type Copy, type CopyVerbs, type TornRange, ZEROS } from '../replication/copy.js';
import type { Clock, Timers } from '../runtime/clock.js';
import type { CopyPlace } from './ports.js';
import { SteppedCopy } from './stepped-copy.js';

/** How it is opened. */
export interface CopyOpener {
  readonly timers: Timers;
  /** The link to the node, with the window over the copy; never rejects. */
  open(place: CopyPlace): Promise<OpenCopy | Status>;
  readonly clock: Pick<Clock, 'now'>;
  /** Of the node, for what is moved in the background. */
  windowTo(node: string): BackgroundWindow;
}

export interface OpenCopy {
  readonly link: Link;
  readonly window: Window;
  /** Bytes from a place in the copy on, over the same link: in its order with the writes. */
  trim(from: number, bytes: number, timeoutMs: number): Promise<Status>;
  /** Of the copy: what may have half of a write. */
  readonly torn: readonly TornRange[];
  mended(range: TornRange): Promise<Status>;
}

/** Something that waits for the window. */
interface Waiting {
  start(open: OpenCopy): void;
  refuse(status: Status): void;
}

export class RemoteCopy implements Copy {
  readonly id: number;
  readonly inBackground: CopyVerbs;
  readonly #place: CopyPlace;
  readonly #opener: CopyOpener;
  #open: OpenCopy | undefined;
  /** While it is being opened. */
  #waiting: Waiting[] | undefined;
  #tellTorn: (ranges: readonly TornRange[]) => void = () => undefined;

  constructor(place: CopyPlace, opener: CopyOpener) {
    this.id = place.copy;
    this.#place = place;
    this.#opener = opener;
    this.inBackground = new SteppedCopy(this, opener.windowTo(place.node), opener.clock);
  }

  whenTorn(tell: (ranges: readonly TornRange[]) => void): void {
    this.#tellTorn = tell;
  }

  async mended(range: TornRange): Promise<Status> {
    const open = this.#open ?? (await this.#opened());
    if (typeof open === 'number') return open;
    const status = await open.mended(range);
    if (status !== Status.Ok) this.failed(status);
    return status;
  }

  #opened(): Promise<OpenCopy | Status> {
    return new Promise((resolve) => this.#whenOpen({ start: resolve, refuse: resolve }));
  }

  /** Every answer but those of the memory itself is a reason to ask for the window again. */
  failed(status: Status): void {
    if (status !== Status.NoSpace && status !== Status.Busy) this.#open = undefined;
  }

  read(
    at: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const address = this.#place.address + at;
    const open = this.#open;
    if (open !== undefined) {
      open.link.read(open.window, address, into, start, bytes, sink, token, deadline);
      return;
    }
    this.#wait(sink, token, ({ link, window }) => {
      link.read(window, address, into, start, bytes, sink, token, deadline);
    });
  }

  write(
    at: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const address = this.#place.address + at;
    const open = this.#open;
    if (open !== undefined) {
      open.link.write(open.window, address, from, start, bytes, sink, token, deadline);
      return;
    }
    this.#wait(sink, token, ({ link, window }) => {
      link.write(window, address, from, start, bytes, sink, token, deadline);
    });
  }

  trim(at: number, bytes: number, sink: CompletionSink, token: number, deadline: number): void {
    const open = this.#open;
    const start = (open: OpenCopy) => void this.#trim(open, at, bytes, sink, token, deadline);
    if (open !== undefined) start(open);
    else this.#wait(sink, token, start);
  }

  async #trim(
    open: OpenCopy,
    at: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): Promise<void> {
    const leftMs = Math.max(0, deadline - this.#opener.clock.now());
    const status = await open.trim(at, bytes, leftMs);
    // An older node does not know it.
    if (status === Status.Unsupported) this.write(at, ZEROS, 0, bytes, sink, token, deadline);
    else sink.completed(token, status, outcomeOf(status), 0, 0);
  }

  readNow(at: number, into: Uint8Array, start: number, bytes: number): number {
    const open = this.#open;
    if (open === undefined) return NOT_NOW;
    return open.link.readNow(open.window, this.#place.address + at, into, start, bytes);
  }

  mayWriteNow(): boolean {
    return this.#open?.link.mayStep === true;
  }

  writeNow(at: number, from: Uint8Array, start: number, bytes: number): number {
    const open = this.#open;
    if (open === undefined) return NOT_NOW;
    return open.link.writeNow(open.window, this.#place.address + at, from, start, bytes);
  }

  /** In the order in which they came; those that come meanwhile stand behind them. */
  #wait(sink: CompletionSink, token: number, start: (open: OpenCopy) => void): void {
    const refuse = (status: Status): void => {
      sink.completed(token, status, outcomeOf(status), 0, 0);
    };
    this.#whenOpen({ start, refuse });
  }

  #whenOpen(one: Waiting): void {
    const waiting = this.#waiting ?? [];
    waiting.push(one);
    if (this.#waiting !== undefined) return;
    this.#waiting = waiting;
    void this.#opener.open(this.#place).then((open) => {
      this.#waiting = undefined;
      if (typeof open === 'number') for (const one of waiting) one.refuse(open);
      else {
        this.#open = open;
        this.#tellTorn(open.torn);
        for (const one of waiting) one.start(open);
      }
    });
  }
}

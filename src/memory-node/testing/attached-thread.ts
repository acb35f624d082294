/**
 * A thread of another process at a node of the harness: it attaches, and makes steps of one access
 * that can be stopped just before they touch the page, or anywhere.
 */

import { Status } from '../../base/status.js';
import { MessageType } from '../../wire/messages.js';
import { type ClientProcess, type Harness, PAGE, SPACE } from './harness.js';
import { type NodeFiles, runStep, type Step, type ThreadWindow } from './one-sided-thread.js';

const RIGHTS_BITS = 6;

export class AttachedThread {
  readonly process: ClientProcess;
  readonly token: number;
  slot = -1;
  /** Told before every store to a frame, with its number. */
  stores: (frame: number) => void = () => {};
  readonly #harness: Harness;
  readonly #files: NodeFiles;
  #incarnation = 0;
  #window: ThreadWindow | undefined;
  #run: Generator<void, void> | undefined;
  #step: Step | undefined;
  #isCertain = false;

  private constructor(harness: Harness, process: ClientProcess, token: number) {
    this.#harness = harness;
    this.process = process;
    this.token = token;
    this.#files = harness.openFiles();
  }

  static async start(harness: Harness, token = 1): Promise<AttachedThread> {
    const process = await harness.startClient();
    const thread = new AttachedThread(harness, process, token);
    await thread.attach();
    return thread;
  }

  /** Also again, when the node has restarted. */
  async attach(): Promise<void> {
    const { token } = this;
    const request = { token, identity: this.process.identity };
    const given = await this.#harness.call(MessageType.Attach, request);
    if (given.status !== Status.Ok) throw new Error(given.reason);
    this.slot = given.slot;
    this.#incarnation = given.incarnation;
    const open = await this.#harness.windowOf(0);
    this.#window = { ...open, space: SPACE, rights: RIGHTS_BITS };
  }

  /** Another window than the first one of client 0. */
  use(window: ThreadWindow): void {
    this.#window = window;
  }

  async detach() {
    const { slot, token } = this;
    return this.#harness.call(MessageType.Detach, { slot, token });
  }

  get isInStep(): boolean {
    return this.#run !== undefined;
  }

  begin(address: number, kind: 'read' | 'write', value = 0n): Step {
    if (this.#window === undefined || this.#run !== undefined) throw new Error('not now');
    this.#isCertain = false;
    const begins = (): void => {
      this.#isCertain = true;
    };
    const page = Math.floor(address / PAGE);
    const at = [(address % PAGE) / 8];
    const access = { page, kind, at, begins, value: () => value, found: [] };
    const step: Step = { accesses: [access], made: 0, isVerified: undefined };
    const options = {
      files: this.#files,
      slot: this.slot,
      incarnation: this.#incarnation,
      window: this.#window,
      stores: (frame: number) => this.stores(frame),
    };
    this.#step = step;
    this.#run = runStep(options, step);
    return step;
  }

  /** One access more; false: the step is over. */
  next(): boolean {
    const isOver = this.#run?.next().done !== false;
    if (isOver) this.#run = undefined;
    return !isOver;
  }

  /** To where only the copy is left. False: the step did not come so far, and is over. */
  toTheCopy(): boolean {
    while (!this.#isCertain) if (!this.next()) return false;
    // The window, and `alive`.
    return this.next() && this.next() && this.#step?.made === 0;
  }

  end(): void {
    while (this.next());
  }
}

/** A memory node without pages: one array of bytes behind the data messages, for tests. */

import { Status } from '../../base/status.js';
import type { Bytes } from '../../runtime/network.js';
import { MessageType } from '../../wire/messages.js';
import { type DataHandler, type DataSession, DONE, type Progress, WAIT } from '../serve.js';

const TWO_32 = 2 ** 32;

export class FakeMemory implements DataHandler {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Every message that was executed, by type. */
  readonly executed: number[] = [];
  readonly closedClients: number[] = [];
  readonly forgottenSlots: number[] = [];
  readonly reserved = new Map<number, number>();
  window = 7;
  epoch = 3;
  /** While true writes wait. */
  isFull = false;
  readonly waiting = new Set<DataSession>();
  /** Nothing is executed of connections from before this. */
  servesSinceMs = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Lets those that wait go on. */
  refill(): void {
    this.isFull = false;
    for (const session of [...this.waiting]) session.resume();
    this.waiting.clear();
  }

  execute(session: DataSession, input: Bytes, at: number, type: number, window: number): Progress {
    if (type === MessageType.Write && this.isFull) {
      if (session.mayWait) this.waiting.add(session);
      return WAIT;
    }
    if (session.sinceMs < this.servesSinceMs) {
      session.dismiss();
      return WAIT;
    }
    this.executed.push(type);
    if (type > MessageType.Reserve) {
      if (type === MessageType.Unreserve) this.reserved.delete(session.slot);
      session.finish(Status.Ok, 0);
      return DONE;
    }
    const address = input.view.getUint32(at + 4, true) * TWO_32 + input.view.getUint32(at, true);
    const bytes = input.view.getUint32(at + 8, true);
    const isRight = window === this.window && input.view.getUint32(at + 12, true) === this.epoch;
    if (!isRight) session.finish(Status.Stale, 0);
    else if (address + bytes > this.bytes.length) session.finish(Status.NotAllocated, 0);
    else this.#act(session, input, at, type, address, bytes);
    return DONE;
  }

  #act(
    session: DataSession,
    input: Bytes,
    at: number,
    type: number,
    address: number,
    bytes: number,
  ): void {
    if (type === MessageType.Read) {
      session.output.bytes.set(this.bytes.subarray(address, address + bytes), session.replyAt);
      session.finish(Status.Ok, bytes);
    } else if (type === MessageType.Write) {
      this.bytes.set(input.bytes.subarray(at + 16, at + 16 + bytes), address);
      session.finish(Status.Ok, 0);
    } else if (type === MessageType.Reserve) {
      this.reserved.set(session.slot, (this.reserved.get(session.slot) ?? 0) + 1);
      session.finishValue(Status.Ok, 1, 0);
    } else {
      this.#swapOrAdd(session, input, at, type, address);
    }
  }

  #swapOrAdd(session: DataSession, input: Bytes, at: number, type: number, address: number): void {
    const old = this.view.getBigUint64(address, true);
    const operand = input.view.getBigUint64(at + 16, true);
    if (type === MessageType.FetchAndAdd) {
      this.view.setBigUint64(address, old + operand, true);
    } else if (old === operand) {
      this.view.setBigUint64(address, input.view.getBigUint64(at + 24, true), true);
    }
    session.finishValue(Status.Ok, Number(old & 0xffffffffn), Number(old >> 32n));
  }

  closed(session: DataSession): void {
    this.closedClients.push(session.client);
    this.waiting.delete(session);
  }

  begunAnew(slot: number): void {
    this.reserved.delete(slot);
  }

  forgotten(slot: number): void {
    this.forgottenSlots.push(slot);
    this.reserved.delete(slot);
  }
}

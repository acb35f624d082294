/** Planted bugs: atomics whose two halves others can come between. */

import { Status } from '../../base/status.js';
import type { Bytes } from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType, ReadRequest } from '../../wire/messages.js';
import { fabricFaults, unheardSession } from '../planted.js';
import { type DataHandler, type DataSession, DONE, type Progress } from '../serve.js';

const LATER_MS = 1;
const WORD_BYTES = 8;

export function isInTwoSteps(type: number): boolean {
  if (type === MessageType.FetchAndAdd) return fabricFaults.atomicInTwoSteps;
  return type === MessageType.CompareAndSwap && fabricFaults.swapInTwoSteps;
}

/** Reads the word now, answers with it, and writes the new one a millisecond later. */
export function executeInTwoSteps(
  runtime: Runtime,
  data: DataHandler,
  session: PartResult,
  input: Bytes,
  body: number,
  type: number,
  extra: number,
): Progress {
  const progress = data.execute(session, input, body, MessageType.Read, extra);
  if (progress !== DONE || session.status !== Status.Ok) return progress;
  const { view } = session.output;
  const old = view.getBigUint64(session.replyAt, true);
  session.isFinished = false;
  session.finishValue(Status.Ok, Number(old & 0xffff_ffffn), Number(old >> 32n));
  const operand = body + ReadRequest.fixedBytes;
  const first = input.view.getBigUint64(operand, true);
  const isAddition = type === MessageType.FetchAndAdd;
  if (!isAddition && old !== first) return DONE;
  const desired = isAddition
    ? BigInt.asUintN(64, old + first)
    : input.view.getBigUint64(operand + WORD_BYTES, true);
  const later = bytesOf(ReadRequest.fixedBytes + WORD_BYTES);
  later.bytes.set(input.bytes.subarray(body, operand));
  later.view.setBigUint64(ReadRequest.fixedBytes, desired, true);
  const unheard = unheardSession(session, later);
  runtime.timers.after(LATER_MS, () => {
    data.execute(unheard, later, 0, MessageType.Write, extra);
  });
  return DONE;
}

interface PartResult extends DataSession {
  readonly status: Status;
  isFinished: boolean;
}

function bytesOf(bytes: number): Bytes {
  const buffer = new ArrayBuffer(bytes);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

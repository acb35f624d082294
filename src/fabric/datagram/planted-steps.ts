/** Planted bug: an addition whose two halves others can come between. */

import { Status } from '../../base/status.js';
import type { Bytes } from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType, ReadRequest } from '../../wire/messages.js';
import { unheardSession } from '../planted.js';
import { type DataHandler, type DataSession, DONE, type Progress } from '../serve.js';

const LATER_MS = 1;
const WORD_BYTES = 8;

/** Reads the word now, answers with it, and writes the sum a millisecond later. */
export function addInTwoSteps(
  runtime: Runtime,
  data: DataHandler,
  session: PartResult,
  input: Bytes,
  body: number,
  extra: number,
): Progress {
  const progress = data.execute(session, input, body, MessageType.Read, extra);
  if (progress !== DONE || session.status !== Status.Ok) return progress;
  const { view } = session.output;
  const old = view.getBigUint64(session.replyAt, true);
  const later = bytesOf(ReadRequest.fixedBytes + WORD_BYTES);
  later.bytes.set(input.bytes.subarray(body, body + ReadRequest.fixedBytes));
  const operand = body + ReadRequest.fixedBytes;
  const sum = BigInt.asUintN(64, old + input.view.getBigUint64(operand, true));
  later.view.setBigUint64(ReadRequest.fixedBytes, sum, true);
  const unheard = unheardSession(session, later);
  runtime.timers.after(LATER_MS, () => {
    data.execute(unheard, later, 0, MessageType.Write, extra);
  });
  session.isFinished = false;
  session.finishValue(Status.Ok, Number(old & 0xffff_ffffn), Number(old >> 32n));
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

/** Answers requests, for measurements: whatever a request says it wants back. */

import {
  type DatagramBatch,
  type DatagramHandler,
  type DatagramSocket,
  type Listener,
  PEER_BYTES,
  type StreamHandler,
} from '../../network.js';
import type { Runtime } from '../../runtime.js';

/** A request begins with its own length and the length of the reply, each a word. */
const answerer: StreamHandler = {
  received(stream, input, start, end) {
    let at = start;
    while (end - at >= 8) {
      const bytes = input.words[at >> 2] as number;
      const reply = input.words[(at >> 2) + 1] as number;
      if (end - at < bytes) break;
      const to = stream.reserve(reply);
      if (to < 0) {
        stream.pause();
        break;
      }
      stream.output.words[to >> 2] = reply;
      stream.commit(reply);
      at += bytes;
    }
    stream.flush();
    return at - start;
  },
  drained: (stream) => stream.resume(),
  closed() {},
};

export function serveRequests(runtime: Runtime, address: string): Promise<Listener> {
  return runtime.network.listen(address, () => answerer);
}

/** Replies to one datagram share datagrams up to this length: what Ethernet takes in one piece. */
export const PACKED_BYTES_MAX = 1472;

/** Datagrams hold requests like those of streams, one behind the other. */
const datagramAnswerer: DatagramHandler = {
  received(socket, batch) {
    for (let i = 0; i < batch.count; i++) answerDatagram(socket, batch, i);
    socket.flush();
  },
};

function answerDatagram(socket: DatagramSocket, batch: DatagramBatch, i: number): void {
  const { words } = batch.input;
  const start = batch.starts[i] as number;
  const end = start + (batch.lengths[i] as number);
  let to = -1;
  let filled = 0;
  for (let at = start; at < end; at += words[at >> 2] as number) {
    const reply = words[(at >> 2) + 1] as number;
    if (filled + reply > PACKED_BYTES_MAX && filled > 0) {
      socket.commit(filled, batch.peers, i * PEER_BYTES);
      filled = 0;
    }
    if (filled === 0) to = socket.reserve(Math.max(reply, PACKED_BYTES_MAX));
    socket.output.words[(to + filled) >> 2] = reply;
    filled += reply;
  }
  socket.commit(filled, batch.peers, i * PEER_BYTES);
}

export function serveDatagramRequests(runtime: Runtime, address: string): Promise<DatagramSocket> {
  return runtime.network.bind(address, datagramAnswerer);
}

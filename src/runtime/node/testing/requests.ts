/** Answers requests, for measurements: whatever a request says it wants back. */

import {
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

/** A datagram is a request like those of streams. */
const datagramAnswerer: DatagramHandler = {
  received(socket, { input, count, starts, peers }) {
    for (let i = 0; i < count; i++) {
      const reply = input.words[((starts[i] as number) >> 2) + 1] as number;
      const to = socket.reserve(reply);
      socket.output.words[to >> 2] = reply;
      socket.commit(reply, peers, i * PEER_BYTES);
    }
    socket.flush();
  },
};

export function serveDatagramRequests(runtime: Runtime, address: string): Promise<DatagramSocket> {
  return runtime.network.bind(address, datagramAnswerer);
}

/** Streams through the fault proxy: passed on as they are. */
import { createServer, connect, type Server, type Socket } from 'node:net';
import type { Target } from './fault-proxy-control.js';

export function hostAndPort(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
}

/** Listens at `listen`, and connects to `to` for each that comes. */
export function passStreams({ listen, to }: Target, began: () => void): Promise<Server> {
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    began();
    const node = connect({ ...hostAndPort(to), noDelay: true, allowHalfOpen: true });
    join(client, node);
    join(node, client);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(hostAndPort(listen), () => resolve(server));
  });
}

/** What one side says the other one hears; when one breaks so does the other. */
function join(from: Socket, to: Socket): void {
  from.pipe(to);
  from.on('error', () => to.destroy());
  from.on('close', () => to.end());
}

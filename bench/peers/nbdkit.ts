/** nbdkit with its memory plugin: an NBD server whose disk is the memory of its process. */

import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { pinned } from '../harness.js';
import type { NbdPeer } from './fio.js';
import { freePort } from './redis.js';

const START_MS = 5_000;

export interface Nbdkit extends NbdPeer {
  close(): Promise<void>;
}

export async function startNbdkit(bytes: number): Promise<Nbdkit> {
  const port = await freePort();
  const [program, args] = pinned(0, [
    ...['nbdkit', '--foreground', '--ipaddr', '127.0.0.1', '--port', String(port)],
    ...['memory', `size=${bytes}`],
  ]);
  const child = spawn(program, args, { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const end = performance.now() + START_MS;
  while (!(await isListening(port))) {
    if (performance.now() > end) throw new Error(`nbdkit does not listen at port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    name: 'nbdkit memory',
    uri: `nbd://127.0.0.1:${port}`,
    pids: [child.pid ?? 0],
    close: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

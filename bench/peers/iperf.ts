/** iperf3's single stream over loopback: the limit for large transfers over TCP. */

import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { pinned, type Side } from '../harness.js';
import { freePort } from './redis.js';

const run = promisify(execFile);

export function iperf(seconds: number): Side {
  return {
    name: 'iperf3, one stream',
    turn: async () => {
      const port = await freePort();
      const [program, args] = pinned(0, [
        'iperf3',
        ...['-s', '-1', '-p', String(port), '--bind', '127.0.0.1'],
      ]);
      const server = spawn(program, args, { stdio: 'ignore' });
      const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
      await new Promise((resolve) => setTimeout(resolve, 300));
      const [client, clientArgs] = pinned(1, [
        'iperf3',
        ...['-c', '127.0.0.1', '-p', String(port), '-t', String(seconds), '-l', '1M', '-J'],
      ]);
      const { stdout } = await run(client, clientArgs, { maxBuffer: 1 << 24 });
      await ended;
      const end = (JSON.parse(stdout) as IperfReport).end;
      const use = end.cpu_utilization_percent;
      const bytes = end.sum_received.bytes;
      const cpu = ((use.host_total + use.remote_total) / 100) * seconds * 1e6;
      return {
        value: end.sum_received.bits_per_second / 8,
        cpuPerOperation: cpu / (bytes / 2 ** 20),
      };
    },
  };
}

interface IperfReport {
  readonly end: {
    readonly sum_received: { readonly bytes: number; readonly bits_per_second: number };
    readonly cpu_utilization_percent: {
      readonly host_total: number;
      readonly remote_total: number;
    };
  };
}

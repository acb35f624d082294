/** Conformance: child processes. A world registers `CONFORMANCE_ROLES` as its application. */

import type { RunningRole, RoleMain, Runtime } from '../runtime.js';
import { type Case, expectEqual, expectThat, handler, rejection, until } from './check.js';

const PAGE = 4096;

interface ServeConfig {
  /** Handles of memory files to leave a mark in. */
  readonly memory?: readonly number[];
  /** Exit with this code instead of serving. */
  readonly exitCode?: number;
  /** Start another one, and tell its address instead. */
  readonly nested?: boolean;
}

/** Listens, tells where, and can be stopped; or does what its configuration says instead. */
async function serve(runtime: Runtime, config: ServeConfig): Promise<RunningRole> {
  for (const handle of config.memory ?? []) {
    runtime.memory.adopt(handle).map(0, PAGE).bytes[0] = 42;
  }
  if (config.exitCode !== undefined) runtime.processes.exit(config.exitCode);
  if (config.nested === true) {
    const child = runtime.processes.spawn({ role: 'conformance-serve', config: {} });
    runtime.processes.ready(await child.ready);
    return { address: '', stop: () => Promise.resolve() };
  }
  const listener = await runtime.network.listen('tcp://127.0.0.1:0', () => handler({}));
  const { pid, identity } = runtime.processes;
  runtime.processes.ready({ address: listener.address, pid, identity });
  return { address: listener.address, stop: () => listener.close() };
}

export const CONFORMANCE_ROLES: { readonly [name: string]: RoleMain<never> } = {
  'conformance-serve': serve as RoleMain<never>,
};

interface Ready {
  readonly address: string;
  readonly pid: number;
  readonly identity: string;
}

function spawn(runtime: Runtime, config: ServeConfig, memory: readonly number[] = []) {
  return runtime.processes.spawn({ role: 'conformance-serve', config, memory });
}

/** Whether somebody accepts there. */
async function answers(runtime: Runtime, address: string): Promise<boolean> {
  try {
    const stream = await runtime.network.connect(address, handler({}), 1_000);
    stream.close('only looking');
    return true;
  } catch {
    return false;
  }
}

async function untilSilent(runtime: Runtime, address: string): Promise<void> {
  let silent = false;
  const look = async (): Promise<void> => {
    while (await answers(runtime, address)) {
      // Again.
    }
    silent = true;
  };
  const looking = look();
  await until(runtime, () => silent, 'nobody answers any more', 20_000);
  await looking;
}

export const PROCESS_CASES: readonly Case[] = [
  {
    name: 'a process is known to have ended only when it has',
    needs: 'processes',
    async run({ runtime }) {
      const { processes } = runtime;
      const child = spawn(runtime, {});
      const { identity } = (await child.ready) as Ready;
      expectThat(identity !== '' && identity !== processes.identity, 'an identity of its own');
      expectThat(!processes.hasEnded(identity), 'it runs');
      expectThat(processes.canTell(identity), 'its end will be known');
      child.end('kill');
      await child.exited;
      expectThat(processes.hasEnded(identity), 'it has ended');
      expectThat(processes.canTell(identity), 'its end is known');
      expectThat(!processes.hasEnded(processes.identity), 'this one runs');
      for (const unknown of ['', 'elsewhere/1/2', `x${identity}`]) {
        expectThat(!processes.hasEnded(unknown), 'nothing is known of others');
        expectThat(!processes.canTell(unknown), 'nothing will be known of others');
      }
    },
  },
  {
    name: 'a child tells that it is ready, serves, and ends when it is asked to',
    needs: 'processes',
    async run({ runtime }) {
      const child = spawn(runtime, {});
      const ready = (await child.ready) as Ready;
      expectEqual(ready.pid, child.pid, 'pid');
      expectThat(ready.pid !== runtime.processes.pid, 'another process');
      expectThat(await answers(runtime, ready.address), 'the child serves');
      child.end('term');
      expectEqual(await child.exited, { code: 0, signal: undefined }, 'exit after SIGTERM');
      await untilSilent(runtime, ready.address);
    },
  },
  {
    name: 'a child that is killed has ended by a signal',
    needs: 'processes',
    async run({ runtime }) {
      const child = spawn(runtime, {});
      const ready = (await child.ready) as Ready;
      child.end('kill');
      const exit = await child.exited;
      expectEqual(exit.signal, 'SIGKILL', 'signal');
      await untilSilent(runtime, ready.address);
    },
  },
  {
    name: 'a child that exits has its code, and was never ready',
    needs: 'processes',
    async run({ runtime }) {
      const child = spawn(runtime, { exitCode: 3 });
      const [exit] = await Promise.all([child.exited, rejection(child.ready, 'ready')]);
      expectEqual(exit.code, 3, 'code');
    },
  },
  {
    name: 'a child does not outlive its parent, even one that is killed',
    needs: 'processes',
    async run({ runtime }) {
      const child = spawn(runtime, { nested: true });
      const grandchild = (await child.ready) as Ready;
      expectThat(grandchild.pid !== child.pid, 'a process of its own');
      expectThat(await answers(runtime, grandchild.address), 'the grandchild serves');
      child.end('kill');
      await child.exited;
      await untilSilent(runtime, grandchild.address);
    },
  },
  {
    name: 'memory is handed to a child, and outlives it',
    needs: 'processes',
    async run({ runtime }) {
      const files = [1, 2].map(() => runtime.memory.create('memrack-test', PAGE));
      const handles = files.map((file) => file.handle);
      const child = spawn(runtime, { memory: handles }, handles);
      await child.ready;
      child.end('kill');
      await child.exited;
      for (const file of files) expectEqual(file.map(0, PAGE).bytes[0], 42, 'the mark');
    },
  },
];

/**
 * A rack as it is operated: every machine a network namespace on one bridge, every role a process
 * that is started again when it ends, as by systemd. Machine 0 has the controller, the next ones a
 * memory node each, the one behind them a node whose memory is a file, the last one the clients.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLI, ROOT, within } from './cli.js';
import { ip, namespacesNamed } from './namespaces.js';
import { family, isAlive, until } from './rack.js';

const SUBNET = '10.98.0';
const RESTART_MS = 200;
const END_MS = 20_000;

export interface ClusterOptions {
  /** Memory nodes in DRAM. */
  readonly nodes: number;
  readonly memory: string;
}

interface Service {
  readonly name: string;
  readonly machine: number;
  readonly words: readonly string[];
  /** Words of the first start only. */
  readonly once: readonly string[];
  child: ChildProcess | undefined;
  starts: number;
}

export class Cluster {
  readonly url = `memrack://${SUBNET}.1:7070`;
  readonly http = `http://${SUBNET}.1:7070`;
  /** The network namespace of the clients. */
  readonly clients: string;
  /** What the services said. */
  output = '';
  readonly #machines: readonly string[];
  readonly #removeMachines: () => void;
  readonly #folder = mkdtempSync(join(tmpdir(), 'memrack-cluster-'));
  readonly #services: Service[] = [];
  #isEnding = false;

  constructor({ nodes, memory }: ClusterOptions) {
    const count = nodes + 3;
    const roles = Array.from({ length: count }, (_, i) => `machine${i}` as const);
    const { names, remove } = namespacesNamed(['switch', ...roles], (bridge, ...machines) => {
      ip('-n', bridge, 'link', 'add', 'bridge', 'type', 'bridge');
      ip('-n', bridge, 'link', 'set', 'bridge', 'up');
      for (const [i, machine] of machines.entries()) plug(bridge, machine, i);
    });
    this.#machines = names.slice(1);
    this.clients = this.#machines[count - 1] as string;
    this.#removeMachines = remove;
    const data = join(this.#folder, 'metadata');
    this.#add('controller', 0, ['controller', '--listen', `${SUBNET}.1`, '--data', data]);
    const sizes = ['--memory', memory, '--page-bytes', '64KiB'];
    for (let i = 1; i <= nodes + 1; i++) {
      const place = ['--join', `${SUBNET}.1:7070`, '--listen', `${SUBNET}.${i + 1}`];
      const words = ['memory-node', ...place, '--id', `node-${i}`, ...sizes];
      if (i <= nodes) this.#add(`node-${i}`, i, words);
      else {
        const file = ['--persistent', join(this.#folder, 'memory'), '--unproven-file-system'];
        this.#add(`node-${i}`, i, [...words, ...file], ['--create']);
      }
    }
  }

  #add(name: string, machine: number, words: readonly string[], once: readonly string[] = []) {
    const service = { name, machine, words, once, child: undefined, starts: 0 };
    this.#services.push(service);
    this.#start(service);
  }

  #start(service: Service): void {
    const { machine, words, once } = service;
    const before = within(this.#machines[machine]);
    const all = [...before, process.execPath, CLI, ...words, ...(service.starts > 0 ? [] : once)];
    const [program = '', ...args] = all;
    service.starts += 1;
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    service.child = child;
    const append = (text: Buffer) => (this.output += `${service.name}: ${text.toString()}`);
    child.stdout.on('data', append);
    child.stderr.on('data', append);
    child.on('exit', (code, signal) => {
      service.child = undefined;
      if (this.#isEnding) return;
      this.output += `${service.name} has ended (${signal ?? code}), and is started again\n`;
      setTimeout(() => this.#isEnding || this.#start(service), RESTART_MS);
    });
  }

  #service(name: string): Service {
    return this.#services.find((one) => one.name === name) as Service;
  }

  /** The process that was started for a service: the controller, or a node's supervisor. */
  pidOf(name: string): number | undefined {
    return this.#service(name).child?.pid;
  }

  /** The process that serves a node, started by its supervisor. */
  servingPidOf(name: string): number | undefined {
    const pid = this.pidOf(name);
    return pid === undefined ? undefined : family(pid)[1];
  }

  /** All processes of all services. */
  pids(): number[] {
    return this.#services.flatMap(({ child }) =>
      child?.pid === undefined ? [] : family(child.pid),
    );
  }

  /** Takes the machine of a service off the network, or puts it back. */
  setPlugged(name: string, isPlugged: boolean): void {
    const machine = this.#machines[this.#service(name).machine] as string;
    ip('-n', machine, 'link', 'set', 'eth0', isPlugged ? 'up' : 'down');
  }

  /** Ends all in order; false where a process was left behind that had to be killed. */
  async stop(): Promise<boolean> {
    this.#isEnding = true;
    const pids = this.pids();
    for (const { child } of this.#services) child?.kill('SIGTERM');
    const isOver = await until(END_MS, () => (pids.some(isAlive) ? undefined : true)).catch(
      () => false,
    );
    this.#removeMachines();
    rmSync(this.#folder, { recursive: true, force: true });
    return isOver;
  }
}

/** A machine with the address of its number on the bridge. */
function plug(bridge: string, machine: string, number: number): void {
  const port = `port${number}`;
  const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', machine];
  ip('link', 'add', 'name', port, 'netns', bridge, ...peer);
  ip('-n', bridge, 'link', 'set', port, 'master', 'bridge', 'up');
  ip('-n', machine, 'address', 'add', `${SUBNET}.${number + 1}/24`, 'dev', 'eth0');
  ip('-n', machine, 'link', 'set', 'eth0', 'up');
  ip('-n', machine, 'link', 'set', 'lo', 'up');
}

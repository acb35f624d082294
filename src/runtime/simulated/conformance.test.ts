import { test } from 'vitest';
import { runMicrotasks } from '../../sim/microtasks.js';
import { CONFORMANCE_ROLES, CONFORMANCE_THREADS, conformance } from '../conformance.js';
import type { ConformanceWorld } from '../conformance/check.js';
import { FaultKind, type FaultRates, SimulatedWorld } from './world.js';

interface Style {
  readonly seed: number;
  readonly shake: boolean;
  readonly sameMachine: boolean;
  readonly faults: FaultRates;
}

/** Faults that a program without recovery must not notice. */
const HARMLESS: FaultRates = {
  [FaultKind.StreamSplit]: 200_000,
  [FaultKind.SlowWake]: 100_000,
  [FaultKind.DatagramDuplicate]: 100_000,
  [FaultKind.DatagramLoss]: 100_000,
  [FaultKind.DatagramReorder]: 100_000,
};

async function makeWorld(style: Style): Promise<ConformanceWorld> {
  const { seed, shake, faults } = style;
  const world = new SimulatedWorld({
    seed,
    shake,
    faults,
    immediate: setImmediate,
    roles: CONFORMANCE_ROLES,
    threads: CONFORMANCE_THREADS,
    microtasks: runMicrotasks,
    knobs: { splitCopiesPerMillion: shake ? 300_000 : 0 },
  });
  const machine = world.machine('one');
  const other = style.sameMachine ? machine : world.machine('two');
  const { runtime } = world.program(machine, 'test');
  const peer = world.program(other, 'peer').runtime;
  const neighbour = style.sameMachine ? peer : world.program(machine, 'neighbour').runtime;
  const folder = '/tmp/conformance';
  const drive = <T>(body: Promise<T>): Promise<T> => world.drive(body, { turns: 20_000_000 });
  await drive(runtime.disk.makeFolder(folder));
  const hosts = style.sameMachine
    ? { peer: '127.0.0.1', runtime: '127.0.0.1' }
    : { peer: other.host, runtime: machine.host };
  return {
    runtime,
    peer,
    neighbour,
    address: (protocol, of = 'peer') => `${protocol}://${hosts[of]}:0`,
    folder,
    drive,
    end: () => Promise.resolve(),
  };
}

const frame = {
  test: (name: string, body: () => Promise<void>) => test(name, body),
  skip: (name: string, reason: string) => {
    throw new Error(`the simulator lacks nothing, but not ${name}: ${reason}`);
  },
};

const STYLES: { [name: string]: Style } = {
  plain: { seed: 1, shake: false, sameMachine: true, faults: {} },
  'shaken, seed 2': { seed: 2, shake: true, sameMachine: true, faults: HARMLESS },
  'shaken, two machines, seed 3': { seed: 3, shake: true, sameMachine: false, faults: HARMLESS },
};

/** MEMRACK_SEEDS=1000:50 adds fifty more shaken worlds from seed 1000 on. */
const [first = 0, count = 0] = (process.env['MEMRACK_SEEDS'] ?? '').split(':').map(Number);
for (let seed = first; seed < first + count; seed++) {
  const sameMachine = seed % 2 === 0;
  STYLES[`seed ${seed}`] = { seed, shake: true, sameMachine, faults: HARMLESS };
}

for (const [name, style] of Object.entries(STYLES)) {
  conformance(frame, name, { makeWorld: () => makeWorld(style), missing: {} });
}

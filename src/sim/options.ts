/** The words behind `npm run sim --`. */

import { workloadNamed, WORKLOADS } from './workloads/all.js';
import { plantedNamed, PLANTED } from './planted.js';

export interface SimOptions {
  /** Runs this one and nothing else. */
  readonly seed: number | undefined;
  /** The first of many. */
  readonly from: number;
  readonly seeds: number | undefined;
  readonly minutes: number | undefined;
  /** Of `ci`. */
  readonly seconds: number | undefined;
  readonly workload: string | undefined;
  readonly plant: string | undefined;
  readonly trace: boolean;
  readonly ci: boolean;
  /** Without faults. */
  readonly calm: boolean;
  readonly keepGoing: boolean;
}

const WORKLOAD_NAMES = WORKLOADS.map((one) => one.name).join(', ');
const BUG_NAMES = PLANTED.map((one) => one.name).join(',\n                                       ');

export const USAGE = `Runs the whole rack in one process, many times, each from one seed.

  npm run sim                        a minute of seeds, all workloads in turn
  npm run sim -- --seed 7            one seed; the same every time
  npm run sim -- --seeds 500         so many seeds, from --from N (default 1) on
  npm run sim -- --minutes 10        as many as fit
  npm run sim -- --workload NAME     only one of: ${WORKLOAD_NAMES}
  npm run sim -- --plant NAME        until it finds a planted bug:
                                       ${BUG_NAMES}
  npm run sim -- --trace             with --seed: also the last events and notes of a good run
  npm run sim -- --calm              with --seed: without faults
  npm run sim -- --keep-going        does not stop at the first failure
  npm run sim -- --ci                every planted bug and every workload, in 5 minutes or in
                                       --seconds N

Ends with 0, 127 (crash), 128 (something never finished), 129 (wrong), 2 (wrong use).`;

/** The options, or what is wrong with the words. */
export function parseSimOptions(words: readonly string[]): SimOptions | string {
  const values = new Map<string, string>();
  const flags = new Set<string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    if (['--trace', '--ci', '--calm', '--keep-going', '--help'].includes(word)) flags.add(word);
    else if (VALUED.has(word) && words[i + 1] !== undefined) values.set(word, words[++i] as string);
    else return `${word} is not understood, or lacks its value\n\n${USAGE}`;
  }
  if (flags.has('--help')) return USAGE;
  for (const name of ['--seed', '--from', '--seeds', '--minutes', '--seconds']) {
    const value = values.get(name);
    const isInteger = Number.isSafeInteger(Number(value)) || name === '--minutes';
    if (value !== undefined && !(Number(value) >= 0 && isInteger)) {
      return `${name} ${value}: pass a whole number of at least 0`;
    }
  }
  const number = (name: string): number | undefined => {
    const value = values.get(name);
    return value === undefined ? undefined : Number(value);
  };
  const workload = values.get('--workload');
  const plant = values.get('--plant');
  if (workload !== undefined && workloadNamed(workload) === undefined) {
    return `there is no workload ${workload}\n\n${USAGE}`;
  }
  if (plant !== undefined && plantedNamed(plant) === undefined) {
    return `there is no planted bug ${plant}\n\n${USAGE}`;
  }
  return {
    seed: number('--seed'),
    from: number('--from') ?? 1,
    seeds: number('--seeds'),
    minutes: number('--minutes'),
    seconds: number('--seconds'),
    workload,
    plant,
    trace: flags.has('--trace'),
    ci: flags.has('--ci'),
    calm: flags.has('--calm'),
    keepGoing: flags.has('--keep-going'),
  };
}

const VALUED = new Set([
  '--seed',
  '--from',
  '--seeds',
  '--minutes',
  '--seconds',
  '--workload',
  '--plant',
]);

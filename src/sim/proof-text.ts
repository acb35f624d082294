/** The page that says what the last run of the proof has shown. */

import type { PartState, ProofState } from './proof-state.js';

export const SEEDS_PART = 'simulated seeds that count';
export const ONE_SIDED_PART = 'simulated seeds of one-sided memory that count';
export const DATAGRAM_PART = 'simulated seeds of datagrams that count';
export const OPERATED_PART = 'simulated seeds of disks, moves, copies and short memory that count';
export const DEVICES_PART = 'simulated seeds of block devices that count';
export const PLANTED_PART = 'planted bugs';

/** `wantedOf` says how much a part is to do. */
export function proofText(
  state: ProofState,
  machine: string,
  wantedOf: (part: string) => number,
): string {
  const parts = Object.entries(state.parts);
  const simulated = state.parts[SEEDS_PART];
  const oneSided = state.parts[ONE_SIDED_PART];
  const datagrams = state.parts[DATAGRAM_PART];
  const operated = state.parts[OPERATED_PART];
  const devices = state.parts[DEVICES_PART];
  const planted = state.parts[PLANTED_PART];
  const all = [simulated, oneSided, datagrams, operated, devices];
  const rows = parts.map(([name, { commit, done, ms }]) => {
    return `| ${name} | ${done} | ${wantedOf(name)} | ${seconds(ms)} | ${commit} |`;
  });
  return [
    '# What was proved, when, and how to do it again',
    '',
    'Written by `npm run proof`, which can be stopped at any time and goes on where it was.',
    '`npm run proof -- seeds datagrams` does only the parts whose names have one of these words;',
    'the others stay as they were shown, each at its commit.',
    '',
    `Machine: ${machine}.`,
    '',
    '| part | done without a failure | wanted | seconds | commit |',
    '|---|--:|--:|--:|---|',
    ...rows,
    '',
    ...(all.every((one) => one === undefined) ? [] : SIMULATION),
    ...(simulated === undefined ? [] : simulatedText('Every workload', simulated)),
    ...(oneSided === undefined ? [] : simulatedText('One-sided memory', oneSided)),
    ...(datagrams === undefined ? [] : simulatedText('Datagrams', datagrams)),
    ...(operated === undefined ? [] : simulatedText('Operation', operated)),
    ...(devices === undefined ? [] : simulatedText('Block devices', devices)),
    ...(planted === undefined ? [] : plantedText(planted)),
  ].join('\n');
}

const SIMULATION = [
  '## Simulation',
  '',
  'Each seed is a whole rack in one process (a controller, memory nodes with their supervisors,',
  'three or more clients with the real library), with faults, then calm, then an audit through a',
  'client. A seed counts when it did at least 1,000 client operations and at least 5 of its faults',
  'changed an outcome. Of one-sided memory, threads are interleaved, and stopped, between the',
  'single loads and stores of their steps (`step-stopped`).',
  '',
];

function simulatedText(title: string, part: PartState): string[] {
  const sum = (name: string): number => part.sums[name] ?? 0;
  const kinds = Object.keys(part.sums)
    .filter((name) => name.endsWith(' mattered'))
    .map((name) => name.slice('fault '.length, -' mattered'.length))
    .sort();
  const rows = kinds.map((kind) => {
    const injected = sum(`fault ${kind} injected`);
    return `| ${kind} | ${injected} | ${sum(`fault ${kind} mattered`)} |`;
  });
  const workloads = Object.keys(part.sums)
    .filter((name) => name.startsWith('workload '))
    .sort()
    .map((name) => `${name.slice('workload '.length)} ${sum(name)}`);
  const hours = (sum('simulated ms') / 3_600_000).toFixed(1);
  return [
    `### ${title}`,
    '',
    `${sum('seeds')} seeds from ${part.firstSeed} on, ${part.done} of them count; ` +
      `${sum('operations')} client operations;`,
    `${sum('events')} events; ${hours} simulated hours; ${sum('run twice')} seeds were run twice ` +
      'and took the same course.',
    '',
    ...listed(['Seeds that count, by workload:', ...workloads.map((one) => `${one},`)]),
    '',
    '| fault | injected | changed an outcome |',
    '|---|--:|--:|',
    ...rows,
    '',
  ];
}

function plantedText(part: PartState): string[] {
  return [
    '## Planted bugs',
    '',
    'With assertions off, so that what found them is what clients saw.',
    '',
    '```',
    ...part.lines,
    '```',
    '',
  ];
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(0);
}

/** The words in lines of at most 100 columns, with a full stop behind the last. */
function listed(words: readonly string[]): string[] {
  const lines = [''];
  for (const word of words) {
    const last = lines[lines.length - 1] as string;
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length > 100) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return [...lines.slice(0, -1), (lines.at(-1) as string).replace(/,$/, '.')];
}

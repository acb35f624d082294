/** The program itself: in its group, with the terminal and the signals of the command. */

import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { constants as system } from 'node:os';
import { delimiter, join } from 'node:path';
import type { ControlGroup } from '../../runtime/paging.js';

/** As a shell says it. */
export const NOT_EXECUTABLE = 126;
export const NOT_FOUND = 127;
const SIGNAL_CODE = 128;
/** A second Ctrl-C within this time ends all of the group. */
const AGAIN_MS = 2_000;
/** A terminal sends these to the program, too. */
const OF_TERMINALS = ['SIGINT', 'SIGQUIT'] as const;
const PASSED_ON = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/** 0: it can be run. */
export function whyNotRun(program: string): 0 | typeof NOT_EXECUTABLE | typeof NOT_FOUND {
  const folders = program.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  const paths = folders.map((folder) => (folder === '' ? program : join(folder, program)));
  const there = paths.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  if (there.length === 0) return NOT_FOUND;
  return there.some(isExecutable) ? 0 : NOT_EXECUTABLE;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Resolves to its exit code, as a shell gives it. */
export function runProgram(group: ControlGroup, words: readonly string[]): Promise<number> {
  const [shell = '', ...before] = group.enter;
  const child = spawn(shell, [...before, ...words], { stdio: 'inherit' });
  const restore = passSignals(child, group);
  return new Promise((resolve, reject) => {
    child.on('error', (error) => {
      restore();
      reject(error);
    });
    child.on('exit', (code, signal) => {
      restore();
      resolve(code ?? SIGNAL_CODE + system.signals[signal as NodeJS.Signals]);
    });
  });
}

/** Then it has sent the signal to both. */
function hasTerminal(): boolean {
  return [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);
}

function passSignals(child: ChildProcess, group: ControlGroup): () => void {
  let lastMs = -Infinity;
  const interrupted = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (now - lastMs < AGAIN_MS) group.kill();
    else if (!hasTerminal()) child.kill(signal);
    lastMs = now;
  };
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of OF_TERMINALS) process.on(signal, interrupted);
  for (const signal of PASSED_ON) process.on(signal, pass);
  return () => {
    for (const signal of OF_TERMINALS) process.off(signal, interrupted);
    for (const signal of PASSED_ON) process.off(signal, pass);
  };
}

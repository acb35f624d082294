// The built command line as a child process, the way a user runs it.
import { spawn } from 'node:child_process';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');
export const CLI = join(ROOT, 'dist/cli/main.js');

export interface RunOptions {
  readonly env?: Record<string, string>;
  readonly timeoutMs?: number;
  readonly cwd?: string;
  /** A command that runs the rest of its words. */
  readonly before?: readonly string[];
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The words before a command that run it in a network namespace, and end it with its parent. */
export function within(namespace: string | undefined): string[] {
  if (namespace === undefined) return [];
  return ['setpriv', '--pdeathsig', 'KILL', 'ip', 'netns', 'exec', namespace];
}

/** Runs a command to its end; one that takes longer than `timeoutMs` is killed and has no code. */
export function runCli(args: readonly string[], options: RunOptions = {}): Promise<CliResult> {
  return runNode([CLI, ...args], options);
}

export function runNode(args: readonly string[], options: RunOptions = {}): Promise<CliResult> {
  return new Promise((resolve) => {
    const [program = '', ...words] = [...(options.before ?? []), process.execPath, ...args];
    const child = spawn(program, words, {
      cwd: options.cwd ?? ROOT,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 60_000);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });
}

// Every command of docs/operating/README.md, in the order in which it stands there, in namespaces
// of its own: network, mounts and processes all end with the shell that runs them.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CLI, ROOT } from '../support/cli.js';

const APART = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

/** False, after a printed notice, where this process may not make namespaces. */
function requiresRoom(): boolean {
  const { status, error, stderr } = spawnSync('unshare', [...APART, 'ip', 'link', 'show']);
  if (status === 0) return true;
  const why = error?.message ?? stderr.toString().trim();
  process.stderr.write(`skipping a test: needs namespaces (root): ${why}\n`);
  return false;
}

function shell(script: string, cwd: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn('unshare', [...APART, 'bash', '-euo', 'pipefail', script], {
      cwd,
      env: { ...process.env, PATH: `${cwd}:${process.env['PATH'] ?? ''}`, TMPDIR: cwd },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    child.stderr.on('data', (text: Buffer) => (output += text.toString()));
    child.on('close', (code) => resolve({ code, output }));
  });
}

test.runIf(requiresRoom())('every command of docs/operating does what it says', async () => {
  const page = readFileSync(join(ROOT, 'docs/operating/README.md'), 'utf8');
  const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? '');
  expect(blocks.length).toBeGreaterThan(6);
  const folder = mkdtempSync(join(tmpdir(), 'memrack-operating-'));
  try {
    const program = join(folder, 'memrack');
    writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${CLI} "$@"\n`);
    chmodSync(program, 0o755);
    const script = join(folder, 'script');
    // Where `ip netns` keeps its names: of these mounts alone.
    const prepare = 'mkdir -p /run/netns\nmount -t tmpfs tmpfs /run/netns\nset -x\n';
    writeFileSync(script, `${prepare}${blocks.join('\n')}\necho all done\n`);
    const { code, output } = await shell(script, folder);
    expect([code, output.trimEnd().split('\n').at(-1)], output).toEqual([0, 'all done']);
    const log = readFileSync(join(folder, 'controller.log'), 'utf8').trimEnd().split('\n');
    // The shell's own trace stands there, too.
    const events = log.filter((line) => line.startsWith('{'));
    const codes = events.map((line) => (JSON.parse(line) as { code: string }).code);
    expect(codes.filter((each) => each === 'NODE_JOINED').length).toBeGreaterThanOrEqual(10);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

// `npm start`: installs and builds what is missing, then runs the rack and its main job in the
// foreground. All arguments pass through: `npm start -- --once`.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { prepare, ROOT } from './prepare.mjs';

const entry = join(ROOT, 'dist/apps/start.js');

function start() {
  const child = spawn(process.execPath, [entry, ...process.argv.slice(2)], { stdio: 'inherit' });
  // Ctrl-C reaches the child from the terminal by itself; here it must only not end the parent
  // before the child has tidied up. A polite kill of this process alone is passed on.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  process.on('SIGHUP', () => child.kill('SIGHUP'));
  child.on('error', (error) => {
    process.stderr.write(`memrack: cannot start ${entry}: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exitCode = code ?? 1;
    else process.exitCode = signal === 'SIGINT' ? 130 : 1;
  });
}

// A build with type errors still emits; a half-built rack must not be started from it.
if (!prepare()) {
  process.exitCode = 1;
} else if (!existsSync(entry)) {
  process.stderr.write(`memrack: ${entry} is missing after the build; is src/apps/start.ts?\n`);
  process.exitCode = 1;
} else {
  start();
}

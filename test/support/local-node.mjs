// A memory node that listens where the commands do not offer it: at a socket of this machine.
// Started as its supervisor, with the whole configuration as its second argument.
import { runInForeground } from '../../dist/cli/run-role.js';
import { endProcess } from '../../dist/runtime/node/end-process.js';

// Whoever started it has ended, however it did.
process.stdin.on('end', () => endProcess(0)).resume();

await runInForeground('supervisor', JSON.parse(process.argv[3]), (address) => {
  process.stdout.write(`serves at ${address}\n`);
});

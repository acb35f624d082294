/** The entry of every child process: runs the role that its first argument names. */

import { endProcess } from '../runtime/node/end-process.js';
import { runRole } from '../runtime/node/run-role.js';
import { runtimeOptions } from './app-runtime.js';
import { stayResident } from './resident-roles.js';
import { describeFailure } from './role-failure.js';
import { ROLES } from './roles.js';

const role = process.argv[2] ?? '';
try {
  stayResident(role);
  await runRole(ROLES, runtimeOptions(role));
} catch (error) {
  const { message, exitCode } = describeFailure(role, error);
  process.stderr.write(`memrack: ${message}\n`);
  endProcess(exitCode);
}
